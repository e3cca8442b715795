package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/core"
)

func newHolderCommand() *cobra.Command {
	var o holder.Options
	c := &cobra.Command{
		Use:   "holder",
		Short: "Keep the pods' sockets open while agents come and go",
		Long: `holder keeps the listening sockets and the network namespaces of a node's pods. The
CNI plugin hands them over at ADD, and the agent ('sluice agent') serves them. While no
agent is there, because it died or is being upgraded, new connections wait in the
sockets' queues. After --wait-limit they are reset, until an agent is back: they never
go on without a proxy. (A pod whose failure policy is bypass has its own limit, after
which its rules let new connections go direct.)

It is to run on each node as root, before the first pod, and to change rarely: it is
small, and of what the sockets are for it knows nothing. Its files are in --run-dir, of
mode 0700: holder.sock, at which only root is answered; holder.lock; and a file for each
pod, which a later holder begins with.

  it is upgraded   Start the new one beside the old one. It takes over everything,
                   holder.sock too, and the old one ends: no connection is refused.
                   With --stay the old one stands by, and holds again if the new one
                   ends: for the kubelet, which would start an ended one again.
  it is an old one A holder that is started again in a pod (--pod-uid) that held before
                   the running holder's pod did, stands by in the same way.
  it is killed     Agents have the sockets too and go on. The next holder is given them
                   back.
  both are killed  Connections are refused until the next holder listens again, at the
                   same ports in the same namespaces.

The first SIGTERM or SIGINT ends it. 'sluice status' shows what it holds.`,
		Example: `  sluice holder
  sluice holder --run-dir /run/sluice --wait-limit 10s`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			err := absolute("run-dir", o.RunDir) // the plugin and agents would look elsewhere
			if o.WaitLimit <= 0 {
				err = errors.Join(err, fmt.Errorf("--wait-limit %q: is not positive; use a time such as 30s", o.WaitLimit))
			}
			if err != nil {
				return usage(err, "see 'sluice holder --help'")
			}
			return runHolder(c, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.RunDir, "run-dir", holder.DefaultRunDir, "directory `DIR` of the control socket and the state, on a file system that goes when the machine does")
	f.DurationVar(&o.WaitLimit, "wait-limit", core.DefaultWaitLimit, "how long (`TIME`) connections wait while there is no agent, before they are reset")
	f.BoolVar(&o.Stay, "stay", false, "once another holder took over, stand by instead of ending, and hold again when the other one has ended")
	f.StringVar(&o.Name, "pod-uid", "", "`UID` of the pod that this is in, by which an older holder is known; POD_UID of the environment when not given")
	return c
}

func runHolder(c *cobra.Command, o holder.Options) error {
	ctx, stop := untilSignal(c.Context())
	defer stop()
	o.Name = cmp.Or(o.Name, os.Getenv("POD_UID"))
	o.Build, o.Log = buildVersion(), slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	err := holder.Run(ctx, o)
	switch {
	case errors.Is(err, holder.ErrSucceeded):
		return nil
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return nil // told to end before it began
	}
	return err
}
