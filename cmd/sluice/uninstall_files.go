package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/install"
	"github.com/sluice-cni/sluice/proxy/admin"
)

// leftovers are what agent, holder and installer of a node have written: all that is in
// two folders of theirs.
type leftovers struct{ runDir, stateDir, lease string }

func (l *leftovers) flags(c *cobra.Command) {
	c.Flags().StringVar(&l.runDir, "run-dir", holder.DefaultRunDir, "`DIR` of agent and holder")
	c.Flags().StringVar(&l.stateDir, "state-dir", defaultStateDir, "`DIR` of the agent")
	leaseFlag(c, &l.lease)
}

func newUninstallFilesCommand() *cobra.Command {
	var l leftovers
	c := &cobra.Command{
		Use:   "files",
		Short: "Remove what agent, holder and installer have written on this node, once they have ended",
		Long: `files removes all that is in --run-dir and --state-dir, after 'sluice uninstall': state,
credentials, the compiled policy. It refuses while an agent, a holder or a watching
installer runs. Resources in /etc/sluice stay.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return l.uninstall(c) },
	}
	l.flags(c)
	return c
}

// newUninstallIdleCommand is for the container of a pod that is ready once its node is done.
func newUninstallIdleCommand() *cobra.Command {
	var l leftovers
	c := &cobra.Command{
		Use:    "idle",
		Hidden: true,
		Short:  "Do nothing until SIGTERM, and then what 'sluice uninstall files' does, where nobody runs",
		Args:   noArguments,
		RunE:   func(c *cobra.Command, _ []string) error { return l.idle(c) },
	}
	l.flags(c)
	return c
}

// errInUse: who writes there runs still.
var errInUse = errors.New("is in use")

// remove removes them, once nobody runs who would write there or miss them; the error wraps
// errInUse otherwise. Others' sockets stay while somebody listens: a proxy that runs by
// itself has its own there too.
func (l leftovers) remove() error {
	watched, err := install.Watched(leaseFile(l.lease))
	if err == nil && watched {
		err = fmt.Errorf("%s %w: an installer runs", l.lease, errInUse)
	}
	if err != nil {
		return err
	}
	agents, err := handover.Sockets(l.runDir)
	if err != nil {
		return err
	}
	for _, path := range agents {
		if admin.Answers(path) {
			return fmt.Errorf("%s %w: an agent runs", path, errInUse)
		}
	}
	err = holder.WhileNone(l.runDir, func() error { return errors.Join(emptied(l.stateDir), emptied(l.runDir)) })
	if errors.Is(err, holder.ErrRuns) {
		err = fmt.Errorf("%s %w: %w", l.runDir, errInUse, err)
	}
	return err
}

// emptied removes what is in a folder, and the folder where that can be: in a container it
// is a mount.
func emptied(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	kept := false
	var failed []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Type() == fs.ModeSocket && admin.Answers(path) {
			kept = true
			continue
		}
		failed = append(failed, os.RemoveAll(path))
	}
	if err := os.Remove(dir); err != nil && !kept && !errors.Is(err, syscall.EBUSY) {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// uninstall is the last step on a node.
func (l leftovers) uninstall(c *cobra.Command) error {
	if err := l.remove(); err != nil {
		if errors.Is(err, errInUse) {
			return hinted(err, "stop the agent, the holder and 'sluice install --watch' first, after 'sluice uninstall'")
		}
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "nothing is left in %s and %s\n", l.runDir, l.stateDir)
	return nil
}

// idle waits for SIGTERM, in the pod whose node is done. What is left on the node is removed
// then, unless it is in use: then the pod is ended for another reason than that all are
// gone, such as to be made anew.
func (l leftovers) idle(c *cobra.Command) error {
	ctx, stop := untilSignal(c.Context())
	defer stop()
	<-ctx.Done()
	err := l.uninstall(c)
	if errors.Is(err, errInUse) {
		fmt.Fprintln(c.OutOrStdout(), err)
		return nil
	}
	return err
}
