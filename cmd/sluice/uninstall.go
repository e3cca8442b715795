package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/install"
	"github.com/sluice-cni/sluice/selection"
)

// uninstallOptions are the flags of what is done on one node.
type uninstallOptions struct {
	nodeOptions
	agent, policy string
	wait          time.Duration
	clean         bool
}

func newUninstallCommand() *cobra.Command {
	var o uninstallOptions
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

It can be run again after any step. Then stop the agent and the holder, and have 'sluice
uninstall files' remove what they kept. Resources in /etc/sluice stay. Where no agent
answers, the rules stay in the pods, and their traffic is refused: 'sluice cleanup' takes
them out, and so does --cleanup.

'sluice uninstall cluster' does all that on every node of a cluster.`,
		Example: `  sluice uninstall --dry-run
  sluice uninstall --wait 2m`,
		SuggestionsMinimumDistance: 2,
		Args:                       noSuchCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	o.flags(c)
	f := c.Flags()
	f.StringVar(&o.agent, "agent", defaultAgentSocket, "the agent's `SOCKET`, or off")
	f.StringVar(&o.policy, "policy-file", selection.DefaultPath, "the compiled policy's `FILE`")
	f.DurationVar(&o.wait, "wait", 15*time.Minute, "how long (`TIME`) to wait for the agent to let go of all pods")
	f.BoolVar(&o.clean, "cleanup", false, "do what 'sluice cleanup' does where no agent has answered for 30 s")
	c.AddCommand(newUninstallClusterCommand(), newUninstallFilesCommand(), newUninstallIdleCommand())
	return c
}

// neverHere: nothing is on this node that an installer or an agent would have left.
func (o uninstallOptions) neverHere() (bool, error) {
	for _, path := range []string{o.plugin(), leaseFile(o.lease), o.policy, o.agent} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	i, err := install.Leaver(install.Options{ConfDir: o.confDir, Entry: install.NodeEntry()})
	if err != nil {
		return false, err
	}
	steps, err := i.Leaving()
	return err == nil && len(steps) == 0, err
}

func (o uninstallOptions) run(c *cobra.Command) error {
	// In a cluster it comes to nodes that never had sluice too, whose runtime may be another.
	if o.clean && !o.dryRun {
		never, err := o.neverHere()
		if err != nil {
			return err
		}
		if never {
			fmt.Fprintln(c.OutOrStdout(), "nothing of sluice is on this node")
			return nil
		}
	}
	i, done, err := o.installer(install.Leaver, install.Options{Mode: install.Auto, Entry: install.NodeEntry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer done()
	steps, err := i.Leaving()
	if err != nil {
		return err
	}
	printChangesOf(c, steps, o.noEntry())
	if o.dryRun {
		if o.agent != "off" {
			fmt.Fprintln(c.OutOrStdout(), "ask the agent at", o.agent, "to let go of every pod")
		}
		fmt.Fprintf(c.OutOrStdout(), "remove %s\nmark %s as retired\n", o.policy, o.plugin())
		return nil
	}
	if len(steps) > 0 {
		fmt.Fprintln(c.OutOrStdout(), "waiting until the runtime uses it no more")
	}
	if err := i.Leave(c.Context()); err != nil {
		return err
	}
	var left error
	if o.clean {
		left = letGoOrClean(c, o.agent, o.wait, absentFor, func() error { return cleanup(c, false, false) })
	} else {
		left = letGo(c, o.agent, o.wait)
	}
	if err := os.Remove(o.policy); err != nil && !errors.Is(err, fs.ErrNotExist) {
		left = errors.Join(left, err)
	}
	return errors.Join(left, o.retire(c))
}

// retire marks the plugin, unless the node's image has brought it to where nobody can write:
// nothing but a deletion calls it from now on, and that succeeds where no holder answers.
func (o uninstallOptions) retire(c *cobra.Command) error {
	plugin := o.plugin()
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

func (o uninstallOptions) noEntry() string {
	if _, err := os.Stat(o.confDir); errors.Is(err, fs.ErrNotExist) {
		return "no entry: there is no " + o.confDir
	}
	return "no entry in " + o.confDir
}
