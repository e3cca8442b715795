package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/client"
	"github.com/sluice-cni/sluice/internal/remedy"
)

// absentFor is how long nobody may listen before the node counts as one without an agent:
// longer than one takes that is started again at once.
const absentFor = 30 * time.Second

// letGoOrClean is letGo where a node may have no agent any more, or one that cannot run:
// the rules are taken out of pods without it then. It asks each second for as long as
// absent, and says so when nobody answers the first time.
func letGoOrClean(c *cobra.Command, socket string, wait, absent time.Duration, clean func() error) error {
	ctx, cancel := context.WithTimeout(c.Context(), absent)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for first := true; ; first = false {
		err := letGo(c, socket, wait)
		if !errors.Is(err, client.ErrNone) {
			return err
		}
		if first {
			fmt.Fprintf(c.OutOrStdout(), "no agent answers at %s yet: it is asked again for %v\n", socket, absent)
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		if c.Context().Err() != nil {
			return errors.Join(err, context.Cause(c.Context()))
		}
		fmt.Fprintf(c.OutOrStdout(), "no agent has answered for %v: its rules are taken out of pods without it\n", absent)
		return clean()
	}
}

// letGo asks the agent to un-enrol every pod, and returns when it has, or after
// wait. Where no agent listens, pods that are captured stay so: that is an error
// that says what to do.
func letGo(c *cobra.Command, socket string, wait time.Duration) error {
	if socket == "off" {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), wait)
	defer cancel()
	err := client.Leave(ctx, socket, func(now agent.Leaving) {
		fmt.Fprintf(c.OutOrStdout(), "the agent lets go: %s left\n", stillHeld(now))
		if now.Unsettled != "" {
			fmt.Fprintln(c.OutOrStdout(), "  perhaps more:", now.Unsettled)
		}
	})
	if err == nil {
		fmt.Fprintln(c.OutOrStdout(), "the agent has let go of every pod")
		return nil
	}
	return notLetGo(socket, err, ctx.Err() == context.DeadlineExceeded, wait)
}

func stillHeld(l agent.Leaving) string {
	return count(l.Pods, "pod") + ", " + count(l.Connections, "connection")
}

// notLetGo says what to do about an agent that has not let go of every pod.
func notLetGo(socket string, err error, late bool, wait time.Duration) error {
	var unfinished *client.UnfinishedError
	if errors.Is(err, client.ErrNone) {
		return hinted(fmt.Errorf("agent %q: %w, so pods that are captured stay so", socket, err), remedy.Here().Say(remedy.AgentGone))
	}
	if !errors.As(err, &unfinished) {
		return fmt.Errorf("agent %q: %w", socket, err)
	}
	left := stillHeld(unfinished.Left) + " left"
	if unfinished.Left.Unsettled != "" {
		left += ", perhaps more: " + unfinished.Left.Unsettled
	}
	if late {
		return hinted(fmt.Errorf("agent %q: has not let go of every pod after %v: %s", socket, wait, left), "run it again, with a longer --wait")
	}
	return hinted(fmt.Errorf("agent %q: ended its answer with %s: %w", socket, left, unfinished.Err), "run it again, once an agent is there; "+remedy.Here().Say(remedy.AgentGone))
}
