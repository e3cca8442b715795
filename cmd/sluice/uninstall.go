package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/install"
	"github.com/sluice-cni/sluice/selection"
)

func newUninstallCommand() *cobra.Command {
	var o installOptions
	var wait time.Duration
	agent, policy, kubeconfig, daemonSet := "", "", "", ""
	var agents []string
	var left leftovers
	idle, cluster, clean, files := false, false, false, false
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the CNI plugin out of this node's container runtime, harmlessly",
		Long: `uninstall undoes 'sluice install', in the order in which nothing is cut and no pod is
stranded:

  1  the entry goes out of the network configuration; it waits until the runtime
     uses it no more, so that no new pod is captured
  2  the agent lets go of every pod: new connections go their own way at once, those
     through the proxy end by themselves, for at most its drain limit
  3  the compiled policy goes
  4  the plugin in the bin dir is replaced by itself with a mark behind it that makes
     it pass everything through: runtimes call it for pods of earlier days, and would
     repeat the deletion of a pod for ever that it fails

The watching 'sluice install' of this node keeps its hands off from then on, and one that
is started again in the same pod does (--lease); one of a later release does not.

With --cluster it does this on all nodes of a cluster: it makes the DaemonSet of
--daemonset, each pod of which runs 'sluice uninstall' before its containers, waits until
all have, deletes the DaemonSets of --agents, has all do it once more, and deletes its own.
On a node that came while others were waited for, or whose agent or installer started anew,
sluice has begun again, hence the second time: without their DaemonSets none can any more.
Nodes that are not done in time are named, and the DaemonSet stays for them. --idle is for
such a pod's container, once its node is done: at SIGTERM it does what --files does, unless
an agent, a holder or an installer runs.

It can be run again after any step. Then stop the agent and the holder, and have --files
remove what they kept in /run/sluice and /var/lib/sluice. Resources in /etc/sluice stay.
Where no agent answers, the rules stay in the pods, and their traffic is refused: 'sluice
cleanup' takes them out, and so does --cleanup.`,
		Example: `  sluice uninstall --dry-run
  sluice uninstall --wait 2m
  sluice uninstall --files
  sluice uninstall --cluster --daemonset daemonset.yaml --agents sluice-agent,sluice-holder`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			left.lease = o.leaseFile()
			switch {
			case idle && cluster || idle && files || cluster && files:
				return usage(errors.New("--idle, --cluster, --files: exclude each other"), "see 'sluice uninstall --help'")
			case idle:
				return left.idle(c)
			case files:
				return left.uninstallFiles(c)
			case cluster:
				return uninstallCluster(c, kubeconfig, daemonSet, agents, wait)
			}
			return o.uninstall(c, agent, policy, wait, clean)
		},
	}
	o.flags(c)
	f := c.Flags()
	f.StringVar(&agent, "agent", defaultAgentSocket, "the agent's `SOCKET`, or off")
	f.StringVar(&policy, "policy-file", selection.DefaultPath, "the compiled policy's `FILE`")
	f.DurationVar(&wait, "wait", 15*time.Minute, "how long (`TIME`) to wait for the agent to let go of all pods, or for all nodes")
	f.BoolVar(&cluster, "cluster", false, "take it out of all nodes of a cluster")
	f.StringVar(&daemonSet, "daemonset", "", "`FILE` with the DaemonSet, in YAML or JSON, that does it on each node")
	f.StringSliceVar(&agents, "agents", nil, "`NAMES` of the DaemonSets of agents and installers, and of holders, in the namespace of --daemonset; they are deleted in this order once every node is done, which each is once more then")
	f.StringVar(&kubeconfig, "kubeconfig", "", "`FILE` that leads to the cluster (default the pod's own, else kubectl's)")
	f.BoolVar(&clean, "cleanup", false, "do what 'sluice cleanup' does where no agent has answered for 30 s")
	f.BoolVar(&idle, "idle", false, "do nothing until SIGTERM, and then what --files does, where nobody runs")
	f.BoolVar(&files, "files", false, "only remove what agent, holder and installer have written on this node, once they have ended")
	f.StringVar(&left.runDir, "run-dir", holder.DefaultRunDir, "`DIR` of agent and holder, for --files")
	f.StringVar(&left.stateDir, "state-dir", defaultStateDir, "`DIR` of the agent, for --files")
	return c
}

// neverHere: nothing is on this node that an installer or an agent would have left.
func (o installOptions) neverHere(agent, policy string) (bool, error) {
	for _, path := range []string{filepath.Join(o.binDir, "sluice-cni"), o.leaseFile(), policy, agent} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	i, err := install.Leaver(install.Options{ConfDir: o.confDir, Entry: nodeEntry()})
	if err != nil {
		return false, err
	}
	steps, err := i.Leaving()
	return err == nil && len(steps) == 0, err
}

func (o installOptions) uninstall(c *cobra.Command, agent, policy string, wait time.Duration, clean bool) error {
	// In a cluster it comes to nodes that never had sluice too, whose runtime may be another.
	if clean && !o.dryRun {
		never, err := o.neverHere(agent, policy)
		if err != nil {
			return err
		}
		if never {
			fmt.Fprintln(c.OutOrStdout(), "nothing of sluice is on this node")
			return nil
		}
	}
	i, done, err := o.installer(install.Leaver, install.Auto, nodeEntry(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer done()
	if o.dryRun {
		steps, err := i.Leaving()
		if err != nil {
			return err
		}
		printChangesOf(c, steps, o.noEntry())
		if agent != "off" {
			fmt.Fprintln(c.OutOrStdout(), "ask the agent at", agent, "to let go of every pod")
		}
		fmt.Fprintf(c.OutOrStdout(), "remove %s\nmark %s as retired\n", policy, filepath.Join(o.binDir, "sluice-cni"))
		return nil
	}
	steps, err := i.Leaving()
	if err != nil {
		return err
	}
	printChangesOf(c, steps, o.noEntry())
	if len(steps) > 0 {
		fmt.Fprintln(c.OutOrStdout(), "waiting until the runtime uses it no more")
	}
	if err := i.Leave(c.Context()); err != nil {
		return err
	}
	var left error
	if clean {
		left = letGoOrClean(c, agent, wait, absentFor, func() error { return cleanup(c, false, false) })
	} else {
		left = letGo(c, agent, wait)
	}
	if err := os.Remove(policy); err != nil && !errors.Is(err, fs.ErrNotExist) {
		left = errors.Join(left, err)
	}
	return errors.Join(left, o.retire(c))
}

// retire marks the plugin, unless the node's image has brought it to where nobody can write:
// nothing but a deletion calls it from now on, and that succeeds where no holder answers.
func (o installOptions) retire(c *cobra.Command) error {
	plugin := filepath.Join(o.binDir, "sluice-cni")
	switch retired, err := install.Retire(c.Context(), o.binDir); {
	case errors.Is(err, unix.EROFS):
		fmt.Fprintln(c.OutOrStdout(), plugin, "stays as it is: its directory is read-only")
	case err != nil:
		return err
	case retired:
		fmt.Fprintln(c.OutOrStdout(), plugin, "passes everything through from now on")
	}
	return nil
}

func (o installOptions) noEntry() string {
	if _, err := os.Stat(o.confDir); errors.Is(err, fs.ErrNotExist) {
		return "no entry: there is no " + o.confDir
	}
	return "no entry in " + o.confDir
}
