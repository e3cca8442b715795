package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-cni/sluice/mesh"
)

// workloadNamespace is what --namespace means to a command that runs a proxy.
const workloadNamespace = "`NAMESPACE` of the workload, which decides what resources it follows (default \"default\")"

// namespaceFlag adds -n.
func namespaceFlag(c *cobra.Command, text string) {
	c.Flags().VarP(new(namespaceValue), "namespace", "n", text)
}

type namespaceValue string

func (v *namespaceValue) String() string { return string(*v) }
func (v *namespaceValue) Type() string   { return "string" }

func (v *namespaceValue) Set(text string) error {
	if complaint := mesh.NamespaceComplaint(text); complaint != "" {
		return errors.New(complaint)
	}
	*v = namespaceValue(text)
	return nil
}

// domainFlag adds --cluster-domain.
func domainFlag(f *pflag.FlagSet, into *domainValue) {
	*into = mesh.DefaultClusterDomain
	f.Var(into, "cluster-domain", "`DOMAIN` that the full names of the cluster's Services end in")
}

type domainValue string

func (v *domainValue) String() string { return string(*v) }
func (v *domainValue) Type() string   { return "string" }

func (v *domainValue) Set(text string) error {
	if strings.Trim(text, ".") != text || text == "" {
		return errors.New("not a domain; cluster.local is usual")
	}
	*v = domainValue(text)
	return nil
}

// flagValue is a flag's value as text, "" when the command has no such flag.
func flagValue(c *cobra.Command, name string) string {
	if f := c.Flags().Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// absolute refuses a path that depends on where this process was started: others are to
// find what is there.
func absolute(flag, path string) error {
	if filepath.IsAbs(path) {
		return nil
	}
	return fmt.Errorf("--%s %q: not an absolute path; begin with a slash", flag, path)
}

// flagError says in our words what is wrong with a flag.
func flagError(c *cobra.Command, err error) error {
	var (
		invalid *pflag.InvalidValueError
		bare    *pflag.ValueRequiredError
		unknown *pflag.NotExistError
	)
	switch {
	case !c.HasParent() && errors.As(err, &unknown) && c.Flags().NArg() > 0: // the flag is of a misspelt command
		return noSuchCommand(c, c.Flags().Args())
	case errors.As(err, &invalid):
		err = fmt.Errorf("--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), valueComplaint(invalid))
	case errors.As(err, &bare):
		err = fmt.Errorf("--%s: is given without a value; write one after it", bare.GetFlag().Name)
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		err = fmt.Errorf("flag -%s: there is none of that name", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		err = fmt.Errorf("flag --%s: there is none of that name", unknown.GetSpecifiedName())
	}
	return usage(err, "see '"+c.CommandPath()+" --help'")
}

func valueComplaint(e *pflag.InvalidValueError) string {
	switch e.GetFlag().Value.Type() {
	case "bool":
		return "not a boolean; use true or false"
	case "duration":
		return "not a duration; write one like 30s or 5m"
	case "uint16":
		return "not a number from 0 to 65535"
	}
	return e.Unwrap().Error()
}

// kebabFlags lets every flag be written in camelCase too, as istioctl writes
// some of its own: --includeIPRanges is --include-ip-ranges.
func kebabFlags(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(kebab(name))
}

func kebab(name string) string {
	letters := []rune(name)
	var b strings.Builder
	for i, r := range letters {
		if i > 0 && unicode.IsUpper(r) && letters[i-1] != '-' && startsWord(letters, i) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// startsWord tells the I and the R of includeIPRanges from the P between them, and
// the plural of exemptUIDs from a word that begins with its D.
func startsWord(letters []rune, i int) bool {
	if i+2 == len(letters) && letters[i+1] == 's' && unicode.IsUpper(letters[i-1]) {
		return false
	}
	return !unicode.IsUpper(letters[i-1]) || (i+1 < len(letters) && unicode.IsLower(letters[i+1]))
}
