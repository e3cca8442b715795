package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
)

func newValidateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate [FILE|DIR|-]...",
		Short: "Check resources without putting them in force",
		Long: `Checks files, directories and standard input (-) together, and without any the
configuration directory. With --config and files it checks what the directory
would be once 'sluice apply' had put the files there. A directory is taken to be all there
is: a DestinationRule's host or a subset that is in none of its files is warned of. Of
files alone that is not said, since others may have it. Every error, warning and
notice is printed with its file, line, column and field. Certificates that are named
are looked at too, and with --credentials those of credentials. The exit code is 1 when
there is an error, with --strict also when there is a warning; notices leave it 0.

-o json is the list of issues; -o report an object with the verdict, how much was
checked, how many of each severity there are, and the same list.`,
		Example: `  sluice validate egress.yaml
  sluice validate --strict -o report ./egress
  sluice validate -o json ./egress other.yaml
  kubectl get serviceentries -A -o yaml | sluice validate -`,
	}
	namespaceFlag(c, "`NAMESPACE` of objects in files that name none (default \"default\")")
	files := filenameFlag(c)
	output := c.Flags().StringP("output", "o", "text", "`FORMAT`: text, json or report")
	credentialsFlag(c)
	strict := c.Flags().Bool("strict", false, "warnings fail too")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains([]string{"text", "json", "report"}, *output) {
			return usage(fmt.Errorf("output %q: not known; use text, json or report", *output), "usage: "+c.UseLine())
		}
		issues, checked, err := check(c, append(*files, args...))
		if err != nil {
			return explainDirectory(c, err)
		}
		v := newVerdict(issues, checked, *strict)
		if *output == "text" {
			return v.print(c)
		}
		var out any = v
		if *output == "json" {
			out = v.Issues
		}
		if err := writeJSON(c.OutOrStdout(), out); err != nil {
			return err
		}
		if !v.Valid {
			return exitCode(1)
		}
		return nil
	}
	return c
}

// check builds all that is named together. With a directory among it the
// configuration is taken as complete, so that names nobody registers are worth a
// warning.
func check(c *cobra.Command, names []string) (mesh.Issues, int, error) {
	var there, named reading
	credentials, err := credentialsDir(c)
	if err != nil {
		return nil, 0, err
	}
	if len(names) == 0 || flagValue(c, "config") != "" && !slices.Contains(names, configDir(c)) {
		there.read(c, configDir(c), true)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		named.read(c, name, name == configDir(c) || name != "-" && err == nil && info.IsDir())
	}
	issues := slices.Concat(there.issues, named.issues)
	if err := errors.Join(slices.Concat(there.problems, named.problems)...); err != nil {
		printIssues(c, issues)
		return nil, 0, err
	}
	resources := append(there.without(named.resources), named.resources...)
	_, more := mesh.Build(resources, mesh.Options{Partial: !there.whole && !named.whole})
	issues = slices.Concat(issues, more, file.Missing(resources), unusable(resources, credentials))
	issues.Sort()
	return slices.Compact(issues), len(resources), nil // a file may be named that is in the directory
}

// reading is what was read so far.
type reading struct {
	resources []*mesh.Resource
	issues    mesh.Issues
	problems  []error
	whole     bool // a directory is among it
}

func (r *reading) read(c *cobra.Command, name string, directory bool) {
	found, issues, err := readResources(c, name, directory)
	if err != nil {
		r.problems = append(r.problems, err)
	}
	r.resources, r.issues = append(r.resources, found...), append(r.issues, issues...)
	r.whole = r.whole || directory
}

// without leaves out what others replace.
func (r *reading) without(others []*mesh.Resource) []*mesh.Resource {
	replaced := make(map[mesh.Identity]bool, len(others))
	for _, o := range others {
		replaced[o.Identity()] = true
	}
	return slices.DeleteFunc(r.resources, func(r *mesh.Resource) bool { return replaced[r.Identity()] })
}

func readResources(c *cobra.Command, name string, directory bool) ([]*mesh.Resource, mesh.Issues, error) {
	if directory {
		return file.Directory{Path: name}.List()
	}
	in, err := readStream(c, name)
	if err != nil {
		return nil, nil, err
	}
	found, issues := mesh.Decode(in.Name, in.Data, mesh.DecodeOptions{Namespace: in.Namespace})
	return found, issues, nil
}
