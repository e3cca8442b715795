package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/internal/prefixed"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// rulesConfig is what to intercept, as a command line says it: a file, and a flag
// for each field of rules.Config, which wins over the file.
type rulesConfig struct {
	file       string
	rangesFile string
	fields     map[string]*fieldFlag
}

// addRulesConfig adds the flags.
func addRulesConfig(c *cobra.Command) *rulesConfig {
	o := &rulesConfig{}
	c.Flags().StringVar(&o.file, "config", "", configFlag)
	c.Flags().StringVar(&o.rangesFile, "ranges-file", "", "what includeIPRanges auto stands for, as 'sluice cidr --write' `FILE` wrote it (default "+rangesfile.DefaultPath+")")
	o.fields = addFieldFlags(c, func(f rules.Field) string {
		if f.Default != "" {
			return f.Meaning + " Default " + f.Default + "."
		}
		return f.Meaning
	})
	return o
}

// addFieldFlags adds a flag for each field of rules.Config, with what meaning says of it.
func addFieldFlags(c *cobra.Command, meaning func(rules.Field) string) map[string]*fieldFlag {
	out := map[string]*fieldFlag{}
	for _, f := range rules.Fields() {
		value := &fieldFlag{kind: "string"}
		if f.Default == "true" || f.Default == "false" {
			value.kind = "bool"
		}
		out[f.Name] = value
		added := c.Flags().VarPF(value, kebab(f.Name), "", meaning(f))
		if value.kind == "bool" {
			added.NoOptDefVal = "true"
		}
	}
	return out
}

// fieldFlag is a field's value as text, if it was given.
type fieldFlag struct {
	text, kind string
	given      bool
}

var _ pflag.Value = (*fieldFlag)(nil)

func (f *fieldFlag) String() string { return f.text }
func (f *fieldFlag) Type() string   { return f.kind }
func (f *fieldFlag) Set(text string) error {
	f.text, f.given = text, true
	return nil
}

// given reports whether the command line says anything about what to intercept.
func (o *rulesConfig) given() bool {
	for _, f := range o.fields {
		if f.given {
			return true
		}
	}
	return o.file != ""
}

// read reads the configuration over the defaults, with everything that is wrong with
// it at once, and prints what is worth a warning.
func (o *rulesConfig) read(c *cobra.Command) (rules.Config, error) {
	config, warnings, err := o.base(c)
	errs := []error{err}
	for _, f := range rules.Fields() {
		if flag := o.fields[f.Name]; flag != nil && flag.given {
			notes, err := config.Set(f.Name, flag.text)
			warnings, errs = append(warnings, notes...), append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return rules.Config{}, err
	}
	if err := config.Validate(); err != nil {
		return rules.Config{}, err
	}
	config, _, err = config.Resolve(o.ranges)
	if err != nil {
		return rules.Config{}, err
	}
	printWarnings(c, append(warnings, config.Doubts()...))
	return config, nil
}

// base is the file's configuration, each of its fields read as a flag would be.
func (o *rulesConfig) base(c *cobra.Command) (rules.Config, []rules.Warning, error) {
	if o.file == "" {
		return rules.Default(), nil, nil
	}
	name, data, err := o.content(c)
	if err != nil {
		return rules.Default(), nil, err
	}
	object, err := selection.Entry(data)
	if err != nil {
		return rules.Default(), nil, within(name, err)
	}
	conf, err := selection.ReadConf(object)
	if err != nil {
		return rules.Default(), nil, within(name, err)
	}
	if o.rangesFile == "" {
		o.rangesFile = conf.RangesFile
	}
	fields := conf.Fields
	for name, flag := range o.fields {
		if flag.given {
			delete(fields, name)
		}
	}
	config, warnings, err := rules.DecodeValues(fields)
	return config, warnings, within(name, err)
}

func (o *rulesConfig) content(c *cobra.Command) (name string, data []byte, err error) {
	if o.file == "-" {
		data, err = io.ReadAll(c.InOrStdin())
		return "stdin", data, err
	}
	data, err = os.ReadFile(o.file)
	if errors.Is(err, unix.EISDIR) {
		return o.file, nil, hinted(fmt.Errorf("--config %q: is a directory; name a JSON file with what to capture, or leave it out", o.file),
			"the resources in a directory are for the proxy ('sluice proxy --config "+quoted(o.file)+"'); what is captured is said by the flags in 'sluice rules apply --help'")
	}
	if err != nil {
		return o.file, nil, unreadable(o.file, err)
	}
	return o.file, data, nil
}

func (o *rulesConfig) ranges() (cidr.List, error) {
	path := o.rangesFile
	if path == "" {
		path = rangesfile.DefaultPath
	}
	return rangesfile.Read(path, time.Now())
}

// within says for each error of a list which file it is in.
func within(name string, err error) error { return prefixed.Each(name+": ", err) }

func printWarnings(c *cobra.Command, warnings []rules.Warning) {
	for _, w := range warnings {
		fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", w)
	}
}
