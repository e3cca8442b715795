package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/client"
	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/proxy/admin"
)

type statusOptions struct {
	runDir string
	output format
	all    bool
}

func newStatusCommand() *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status [NAMESPACE/NAME]",
		Short: "Show the node's agent and what became of each pod",
		Long: `status asks the node's agent ('sluice agent') how it is and what it does with each pod.

  enrolled    captured and served, as decided
  waiting     for something that REASON names; its connections wait too
  pending     on the way to being enrolled, or changed
  leaving     on the way out; connections that were carried go on
  failed      REASON says why; tried again after 1 s, 2 s and so on to 30 s
  untouched   not selected, so nothing of sluice is in it; listed with --all

With a pod's name everything about that pod is shown: why it is selected or not, the
captured ranges, each setting that is not the default, and warnings. While no agent
answers, within 5 s, the holder ('sluice holder') is asked, which knows less; the exit
code is 1 then.

In a cluster it is run in an agent's container, and is about that agent's node:

  kubectl -n sluice-system get pods -o wide     which agent is on which node
  kubectl -n sluice-system exec POD -- /sluice status shop/web-7d4f

'sluice status ready' and 'sluice status alive' are for probes; 'sluice status cluster' asks
the API server about all nodes.`,
		Example: `  sluice status
  sluice status shop/web-7d4f
  sluice status -o json`,
	}
	socketsFlag(c, &o.runDir)
	o.output = formatFlag(c, "table", "json")
	c.Flags().BoolVar(&o.all, "all", false, "list untouched pods too")
	c.RunE = func(c *cobra.Command, args []string) error {
		errs := []error{o.output.check()}
		if len(args) > 1 {
			errs = append(errs, fmt.Errorf("argument %q: one pod is enough", args[1]))
		}
		if err := errors.Join(errs...); err != nil {
			return usage(err, "see 'sluice status --help'")
		}
		return o.run(c, append(args, "")[0])
	}
	c.AddCommand(newStatusReadyCommand(), newStatusAliveCommand(), newStatusClusterCommand())
	return c
}

func socketsFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "run-dir", holder.DefaultRunDir, "`DIR` of the agent's socket agent.sock and the holder's, holder.sock")
}

func (o statusOptions) run(c *cobra.Command, pod string) error {
	path := filepath.Join(o.runDir, handover.SocketName)
	if !admin.Answers(path) {
		return o.askHolder(c, fmt.Errorf("%s: no agent answers on this node", path), remedy.Here().Say(remedy.Agent))
	}
	s, err := client.Status(c.Context(), o.runDir)
	switch {
	case errors.Is(err, client.ErrSilent):
		return o.askHolder(c, fmt.Errorf("%w: it stands still, or has more to do than it can", err), "look at its process and its log")
	case err != nil:
		return hinted(err, "--run-dir names the directory that 'sluice agent' was given")
	}
	if pod != "" {
		s.Pods = slices.DeleteFunc(s.Pods, func(p agent.PodStatus) bool { return p.Name.String() != pod && p.Netns != pod })
		if len(s.Pods) == 0 {
			return hinted(fmt.Errorf("pod %q: the agent knows no such pod", pod), remedy.Here().Say(remedy.OtherNode))
		}
	}
	if o.output.is("json") {
		return writeJSON(c.OutOrStdout(), s)
	}
	if pod != "" {
		return printPods(c.OutOrStdout(), s.Pods)
	}
	printNode(c.OutOrStdout(), s.NodeStatus)
	hidden := len(s.Pods)
	if !o.all {
		s.Pods = slices.DeleteFunc(s.Pods, func(p agent.PodStatus) bool { return p.State == string(core.PodUntouched) })
	}
	hidden -= len(s.Pods)
	if err := printPodTable(c.OutOrStdout(), s.Pods); err != nil {
		return err
	}
	if hidden > 0 {
		if len(s.Pods) > 0 {
			fmt.Fprintln(c.OutOrStdout())
		}
		fmt.Fprintf(c.OutOrStdout(), "and %s untouched; --all lists all\n", count(hidden, "pod"))
	}
	return nil
}
