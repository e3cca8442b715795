package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/policydir"
)

func newPolicyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy COMMAND",
		Short: "Check, compile or ask the policy that selects a node's pods",
		Long: `policy works on what selects the pods of a node with an agent: YAML files in a
directory, and the compiled file that the CNI plugin reads. The agent follows the
directory by itself; these commands are for before it runs, for CI, and for questions.`,
		SuggestionsMinimumDistance: 2,
		Args:                       noSuchCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPolicyValidateCommand(), newPolicyCompileCommand(), newPolicyExplainCommand())
	return c
}

func policyDirFlag(c *cobra.Command) *string {
	return c.Flags().String("policy-dir", policydir.DefaultPath, "directory `DIR` of the policy's YAML files")
}

func policyFileFlag(c *cobra.Command) *string {
	return c.Flags().String("policy-file", selection.DefaultPath, "the compiled policy `FILE`, which the CNI plugin reads")
}

func newPolicyValidateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate [--policy-dir DIR]",
		Short: "Check the policy's files without putting them in force",
		Long: `validate reads the directory's files together, as the agent does, and prints each
mistake with file, line and field. Nothing is written.`,
		Example: `  sluice policy validate
  sluice policy validate --policy-dir ./policy.d`,
		Args: noArguments,
	}
	dir := policyDirFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if _, err := compilePolicy(*dir); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: valid\n", *dir)
		return nil
	}
	return c
}

func newPolicyCompileCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "compile [--policy-dir DIR] [--policy-file FILE]",
		Short: "Write the policy that the CNI plugin reads",
		Long: `compile does what the agent does whenever the directory changes: it reads the files
and, if all of them are valid, replaces the compiled policy at once. With any mistake
the old one stays. Until a node has a compiled policy, the plugin passes its pods through
uncaptured, so run it before the plugin is put in where no agent does.`,
		Example: `  sluice policy compile
  sluice policy compile --policy-dir ./policy.d --policy-file ./policy.json`,
		Args: noArguments,
	}
	dir, file := policyDirFlag(c), policyFileFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		p, err := compilePolicy(*dir)
		if err != nil {
			return hinted(err, "nothing has changed: the policy that was compiled last stays in force")
		}
		changed, err := selection.Keep(*file, p)
		if err != nil {
			return err
		}
		how := "unchanged"
		if changed {
			how = "written"
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: %s, generation %d\n", *file, how, p.Generation)
		return nil
	}
	return c
}

// compilePolicy is for who named the directory, so that one that is missing is no empty
// policy but a mistake.
func compilePolicy(dir string) (*selection.Policy, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, hinted(fmt.Errorf("policy directory %q: %w", dir, errors.Unwrap(err)), "make it, or name another with --policy-dir")
	}
	return policydir.Compile(dir)
}

func newPolicyExplainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain [--namespace NAMESPACE] [--annotation NAME=VALUE]... [flags]",
		Short: "Say whether a pod is captured, how, and who says so",
		Long: `explain decides about a pod as the CNI plugin would at its ADD: by the plugin's entry
(--cni-conf), the compiled policy, and the pod's namespace and annotations. It prints
whether the pod is selected and what decided it, and each field that is not the default
or that annotations cannot set. A pod that could not start because of its annotations is
an error, and the exit code 1.`,
		Example: `  sluice policy explain --namespace shop
  sluice policy explain --namespace shop --annotation sluice.dev/inject=false
  sluice policy explain --cni-conf /etc/cni/net.d/10-podnet.conflist --policy-file policy.json`,
		Args: noArguments,
	}
	file := policyFileFlag(c)
	conf := c.Flags().String("cni-conf", "", "the plugin's entry, or the list it is in (`FILE`); without it the entry that 'sluice install' writes")
	namespace := c.Flags().StringP("namespace", "n", "", "the pod's `NAMESPACE`; without it the container is no pod of Kubernetes")
	annotations := c.Flags().StringArray("annotation", nil, "an annotation of the pod (`NAME=VALUE`); may be repeated")
	labels := c.Flags().StringArray("label", nil, "a label of the pod (`NAME=VALUE`), which its ADD does not know yet; may be repeated")
	c.RunE = func(c *cobra.Command, _ []string) error {
		entry, err := entryOf(*conf)
		if err != nil {
			return err
		}
		pod := selection.Pod{Namespace: *namespace, Annotations: map[string]string{}, Labels: map[string]string{}}
		for _, given := range []struct {
			what string
			all  []string
			to   map[string]string
		}{{"annotation", *annotations, pod.Annotations}, {"label", *labels, pod.Labels}} {
			for _, text := range given.all {
				name, value, found := strings.Cut(text, "=")
				if !found {
					return usage(fmt.Errorf("%s %q: has no value; write NAME=VALUE", given.what, text), "usage: "+c.UseLine())
				}
				given.to[name] = value
			}
		}
		return explainPolicy(c, entry, *file, pod)
	}
	return c
}

// entryOf is the plugin's entry; without a file it has no field and no key but those
// that lead to the policy.
func entryOf(path string) (selection.Conf, error) {
	if path == "" {
		return selection.ReadConf(map[string]json.RawMessage{selection.KeyAgentSocket: json.RawMessage(`"` + holder.DefaultSocket + `"`)})
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return selection.Conf{}, err
	}
	object, err := selection.Entry(data)
	if err != nil {
		return selection.Conf{}, within(path, err)
	}
	entry, err := selection.ReadConf(object)
	return entry, within(path, err)
}

func explainPolicy(c *cobra.Command, entry selection.Conf, file string, pod selection.Pod) error {
	out := c.OutOrStdout()
	policy, err := selection.ReadFile(file)
	switch {
	case errors.Is(err, selection.ErrNone):
		fmt.Fprintf(out, "passes through: %v\n", err)
		return nil
	case err != nil:
		return err
	}
	d, err := selection.Decide(entry, policy, pod, func() (cidr.List, error) { return rangesfile.Read(entry.RangesFile, time.Now()) })
	if err != nil {
		return hinted(err, "the pod is selected ("+d.Why+"), and its ADD fails with this: it does not start")
	}
	fmt.Fprintf(out, "%s: %s\n", map[bool]string{true: "captured", false: "passes through"}[d.Selected], d.Why)
	if !d.Selected {
		return nil
	}
	if d.Outbound != "" {
		fmt.Fprintf(out, "  %s %s, whatever resources say\n", selection.OutboundPolicy, d.Outbound)
	}
	enforced := selection.Enforced(entry, policy, pod.Namespace)
	columns := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	defaults := rules.Default()
	for _, f := range rules.Fields() {
		by := enforced[f.Name]
		if f.Value(d.Config) == f.Value(defaults) && by == "" {
			continue
		}
		value := f.Value(d.Config)
		if value == "" {
			value = `""`
		}
		if by != "" {
			by = "\tenforced by " + by
		}
		fmt.Fprintf(columns, "  %s\t%s%s\n", f.Name, value, by)
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	printWarnings(c, slices.Clone(d.Warnings))
	return nil
}
