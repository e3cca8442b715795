package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/client"
	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/install/cluster"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/proxy/admin"
)

type statusOptions struct {
	runDir string
	output format
	all    bool
	ready  bool
	alive  bool
	holder bool
	// of --cluster
	cluster               bool
	namespace, kubeconfig string
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

--ready and --alive are for probes, run in the agent's own container: of two agents that
overlap at an upgrade they are about the one in it, and nobody reaches what they ask from
the network. An agent that stands by, or is replaced and drains, is alive, and not ready.
--ready --holder is the same for a holder.

--cluster asks the API server and not this node: on how many nodes agents and holders are
ready, and what is the matter with the rest. The exit code is 1 unless all are.`,
		Example: `  sluice status
  sluice status shop/web-7d4f
  sluice status -o json
  sluice status --cluster`,
	}
	f := c.Flags()
	f.StringVar(&o.runDir, "run-dir", holder.DefaultRunDir, "`DIR` of the agent's socket agent.sock and the holder's, holder.sock")
	o.output = formatFlag(c, "table", "json")
	f.BoolVar(&o.all, "all", false, "list untouched pods too")
	f.BoolVar(&o.ready, "ready", false, "print nothing and exit with 0 if the agent serves the node, where POD_UID is set that pod's agent; for a readiness probe, which may take 6 s")
	f.BoolVar(&o.holder, "holder", false, "with --ready: exit with 0 if the holder in this container holds the node's pods")
	f.BoolVar(&o.cluster, "cluster", false, "show on how many nodes of a cluster sluice is ready")
	f.StringVar(&o.namespace, "namespace", "", "with --cluster: the `NAMESPACE` that sluice was installed into (default POD_NAMESPACE of the environment, else "+cluster.Namespace+")")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "with --cluster: the `FILE` that leads to it (default the pod's own, else kubectl's)")
	f.BoolVar(&o.alive, "alive", false, "print nothing and exit with 0 unless the agent in this container hangs; for a liveness probe, which may take 6 s")
	c.RunE = func(c *cobra.Command, args []string) error {
		errs := []error{o.output.check()}
		if len(args) > 1 {
			errs = append(errs, fmt.Errorf("argument %q: one pod is enough", args[1]))
		}
		if (o.ready || o.alive || o.cluster) && len(args) > 0 {
			errs = append(errs, fmt.Errorf("argument %q: --ready, --alive and --cluster are not about a pod", args[0]))
		}
		if o.ready && o.alive || o.cluster && (o.ready || o.alive) {
			errs = append(errs, errors.New("--ready, --alive, --cluster: exclude each other"))
		}
		if o.holder && !o.ready {
			errs = append(errs, errors.New("--holder: goes with --ready"))
		}
		if err := errors.Join(errs...); err != nil {
			return usage(err, "see 'sluice status --help'")
		}
		switch {
		case o.cluster:
			return o.nodes(c)
		case o.holder:
			return o.probeHolder(c.Context(), client.InThisContainer)
		case o.ready:
			return client.Ready(c.Context(), o.runDir, os.Getenv("POD_UID"))
		case o.alive:
			return client.Alive(c.Context(), o.runDir)
		}
		return o.run(c, append(args, "")[0])
	}
	return c
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
		fmt.Fprintf(c.ErrOrStderr(), "and %s untouched; --all lists all\n", count(hidden, "pod"))
	}
	return nil
}
