package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
)

func newRulesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rules COMMAND",
		Short: "Show, apply, check or remove a namespace's rules by hand",
		Long: `rules works on the rules in one network namespace, the way the CNI plugin does for
a pod's. The rules keep the configuration they were made from, so show and check
need nothing else.`,
		SuggestionsMinimumDistance: 2,
		Args:                       noSuchCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRulesShowCommand(), newRulesApplyCommand(), newRulesCheckCommand(), newRulesRemoveCommand())
	return c
}

func addNetnsFlag(c *cobra.Command) *string {
	return c.Flags().String("netns", "", "the namespace: a `PATH`, or a name of 'ip netns'")
}

// configFlag explains why --config is not what it is elsewhere.
const configFlag = "JSON `FILE` with the fields of the CNI configuration, its whole entry or list, or - for standard input (a file here, not the directory of resources)"

func newRulesApplyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "apply --netns PATH [--config FILE] [flags]",
		Short: "Put rules into a namespace, or replace those there",
		Long: `apply makes the namespace's rules those of a configuration: a JSON file with the
same fields as the CNI plugin's, and a flag for each field, which wins over the file.
Without either the defaults hold: all TCP is captured.

Here --config is that FILE. Everywhere else it is the directory of resources, which
says what the proxy does; rules know nothing of it.

Rules that are there are replaced at once, whichever backend made them; connections
go on. Applied to a namespace with connections, say --running: those older than the
rules are left alone even where connection tracking does not know them.`,
		Example: `  sluice rules apply --netns /run/netns/web --include-ip-ranges 10.0.0.0/8
  sluice rules apply --netns web --config rules.json --backend nft
  sluice cidr -o conf < describe.yaml | sluice rules apply --netns web --config -`,
		Args: noArguments,
	}
	netns := addNetnsFlag(c)
	config := addRulesConfig(c)
	running := c.Flags().Bool("running", false, "the namespace has connections already")
	host := c.Flags().Bool("allow-host", false, "also where the namespace is this machine's or this process's own")
	var own podsOwn
	c.Flags().StringVar(&own.pod, "pod-ip", "", "`ADDRESS` of the pod that this runs in (status.podIP), whose own namespace it is, with --host-ip")
	c.Flags().StringVar(&own.host, "host-ip", "", "`ADDRESS` of the pod's node (status.hostIP): the same as --pod-ip is refused, since the namespace is the node's then")
	c.RunE = func(c *cobra.Command, _ []string) error {
		allowed, err := own.allowed()
		if err != nil {
			return err
		}
		return runRulesApply(c, *netns, config, *running, *host || allowed)
	}
	return c
}

// podsOwn is how a container of a pod knows that the namespace that it runs in is the
// pod's: with hostNetwork, which something may have set since the container was written into
// the pod, Kubernetes gives the pod the node's address.
type podsOwn struct{ pod, host string }

// allowed: rules may be put into the namespace of this process.
func (o podsOwn) allowed() (bool, error) {
	if o == (podsOwn{}) {
		return false, nil
	}
	pod, err := netip.ParseAddr(o.pod)
	if err != nil {
		return false, fmt.Errorf("--pod-ip %q: not an address; give status.podIP, and status.hostIP as --host-ip", o.pod)
	}
	host, err := netip.ParseAddr(o.host)
	if err != nil {
		return false, fmt.Errorf("--host-ip %q: not an address; give status.hostIP, and status.podIP as --pod-ip", o.host)
	}
	if pod.Unmap() == host.Unmap() {
		return false, hinted(fmt.Errorf("--pod-ip %s: is the node's address, so the pod has the node's network (hostNetwork); all the node's traffic would be redirected", o.pod),
			"take hostNetwork or the sidecar out of the pod")
	}
	return true, nil
}

func runRulesApply(c *cobra.Command, name string, config *rulesConfig, running, host bool) error {
	ns, err := openNetns(name)
	if err != nil {
		return err
	}
	defer ns.Close()
	if isHost(ns) && !host {
		return hinted(fmt.Errorf("namespace %q: is this machine's or this process's own; all its traffic would be redirected", name), "--allow-host does it")
	}
	wanted, err := config.read(c)
	if err != nil {
		return err
	}
	var options []rules.Option
	if running {
		options = append(options, rules.Running())
	}
	plan, err := rules.NewPlan(wanted, options...)
	if err != nil {
		return err
	}
	b, why, err := backend.Apply(wanted.Backend, int(ns.Fd()), plan)
	if err != nil {
		return err
	}
	if err := raiseLoopback(ns); err != nil {
		return errors.Join(err, b.Remove(int(ns.Fd())))
	}
	limits, err := b.Limitations(int(ns.Fd()), plan)
	printWarnings(c, limits)
	fmt.Fprintf(c.OutOrStdout(), "applied to %s by %s\n", name, why)
	return err
}

func newRulesRemoveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove --netns PATH",
		Short: "Take the rules out of a namespace",
		Long: `remove takes the rules out, whichever backend made them; none there is fine.
Connections that were redirected are reset by the kernel.`,
		Args: noArguments,
	}
	netns := addNetnsFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		ns, err := openNetns(*netns)
		if err != nil {
			return err
		}
		defer ns.Close()
		found, err := backend.Installed(int(ns.Fd()))
		if err != nil {
			return err
		}
		if err := backend.Remove(int(ns.Fd())); err != nil {
			return err
		}
		if len(found) == 0 {
			fmt.Fprintf(c.OutOrStdout(), "nothing to remove in %s\n", *netns)
			return nil
		}
		fmt.Fprintf(c.OutOrStdout(), "removed from %s: %s\n", *netns, backend.Names(found))
		return nil
	}
	return c
}

func newRulesCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check --netns PATH [--config FILE] [flags]",
		Short: "Compare a namespace's rules with what they should be",
		Long: `check reads the namespace's rules back and compares every chain, set, element and
rule with the configuration they were made from, or with the one given by --config
and the flags. Each difference is printed with the rule's name, and the exit code
is 1. Rules that are not sluice's do not matter.

Here --config is a JSON FILE, as for 'sluice rules apply'.`,
		Args: noArguments,
	}
	netns := addNetnsFlag(c)
	config := addRulesConfig(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return runRulesCheck(c, *netns, config) }
	return c
}

func runRulesCheck(c *cobra.Command, name string, config *rulesConfig) error {
	ns, err := openNetns(name)
	if err != nil {
		return err
	}
	defer ns.Close()
	b, stored, err := installed(name, ns)
	if err != nil {
		return err
	}
	if config.given() {
		if stored, err = config.read(c); err != nil {
			return err
		}
	}
	plan, err := rules.NewPlan(stored)
	if err != nil {
		return err
	}
	err = b.Check(int(ns.Fd()), plan)
	var drift rules.Drift
	if errors.As(err, &drift) {
		return hinted(errors.New(strings.Join(drift, "\n")), "'sluice rules apply' puts it right")
	}
	if err == nil {
		fmt.Fprintf(c.OutOrStdout(), "%s: the %s rules are those of the configuration\n", name, b.Name())
	}
	return err
}

// installed is the backend that has rules in a namespace, and what they were made from.
func installed(name string, ns *os.File) (backend.Backend, rules.Config, error) {
	found, err := backend.Installed(int(ns.Fd()))
	switch {
	case err != nil:
		return nil, rules.Config{}, err
	case len(found) == 0:
		return nil, rules.Config{}, fmt.Errorf("namespace %q: has no rules of sluice's", name)
	case len(found) > 1:
		return nil, rules.Config{}, hinted(fmt.Errorf("namespace %q: has rules of several backends: %s", name, backend.Names(found)), "'sluice rules apply' leaves those of one")
	}
	stored, there, err := found[0].Stored(int(ns.Fd()))
	if err == nil && !there {
		err = fmt.Errorf("namespace %q: its %s rules were removed meanwhile, or hold no configuration", name, found[0].Name())
	}
	return found[0], stored, err
}
