package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent/found"
	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/rules/nft"
)

func newCleanupCommand() *cobra.Command {
	var dryRun, standalone, force bool
	agent := ""
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Take sluice's rules out of every pod of a node that has no agent any more",
		Long: `cleanup looks through the network namespaces of this node, those under /run/netns and
those of processes, and takes sluice's rules out of them. New connections go their own
way at once. Connections that a proxy still carries are reset, so it refuses while an
agent runs: 'sluice uninstall' lets them end.

Rules for a proxy that is in the pod itself (a sidecar, 'sluice exec') stay, unless
--standalone says otherwise. The host's own namespace is left alone.`,
		Example: `  sluice cleanup --dry-run
  sluice cleanup`,
		Args: noArguments,
	}
	f := c.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "say where rules are, and change nothing")
	f.BoolVar(&standalone, "standalone", false, "also rules that no agent is asked to serve")
	f.BoolVar(&force, "force", false, "although an agent listens")
	f.StringVar(&agent, "agent", defaultAgentSocket, "`SOCKET` where an agent would listen")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !force && !dryRun && admin.Answers(agent) {
			return hinted(fmt.Errorf("agent %q: serves pods of this node, whose connections would be reset", agent), "use 'sluice uninstall', or --force")
		}
		return cleanup(c, dryRun, standalone)
	}
	return c
}

func cleanup(c *cobra.Command, dryRun, standalone bool) error {
	useNodesPrograms(slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil)))
	var failed []error
	cleaned, looked := 0, 0
	err := found.All(c.Context(), func(path string, f *os.File) error {
		looked++
		fd := int(f.Fd())
		there, err := ours(fd, standalone)
		if err == nil && there && !dryRun {
			err = errors.Join(backend.Disable(fd), backend.Remove(fd))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("namespace %q: %w", path, err))
		} else if there {
			cleaned++
			fmt.Fprintln(c.OutOrStdout(), path)
		}
		return context.Cause(c.Context())
	})
	if err == found.ErrDenied { // who tries again could do no more
		fmt.Fprintln(c.ErrOrStderr(), "perhaps not all was found:", err)
		err = nil
	}
	verb := "cleaned"
	if dryRun {
		verb = "to clean"
	}
	fmt.Fprintf(c.ErrOrStderr(), "%d of %s %s\n", cleaned, count(looked, "namespace"), verb)
	return errors.Join(append(failed, err)...)
}

// ours says whether a namespace has rules that cleanup is to take out. A record that
// cannot be read is of another version of sluice: its rules go too, and rules of
// iptables are told by what they exempt, since an agent is known to them by a mark.
func ours(fd int, standalone bool) (bool, error) {
	there, err := backend.Installed(fd)
	if err != nil || standalone {
		return len(there) > 0, err
	}
	for _, b := range there {
		if b.Name() == rules.BackendNFT {
			if applied, _, err := nft.Read(fd); err != nil || applied.Node {
				return true, nil
			}
			continue
		}
		if conf, _, err := b.Stored(fd); err != nil || conf.Exemption == rules.ExemptByMark && len(conf.ExemptUIDs) == 0 {
			return true, nil
		}
	}
	return false, nil
}
