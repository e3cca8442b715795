package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/internal/remedy"
)

// errNoAgent: there is no agent to let go of pods.
var errNoAgent = errors.New("nobody listens there")

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
		if !errors.Is(err, errNoAgent) {
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
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent"+agent.LeavePath, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return hinted(fmt.Errorf("agent %q: %w, so pods that are captured stay so", socket, errNoAgent), remedy.Here().Say(remedy.AgentGone))
	}
	if err != nil {
		return fmt.Errorf("agent %q: %w", socket, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("agent %q: %s: %s", socket, answer.Status, strings.TrimSpace(string(text)))
	}
	return followLeaving(ctx, c, json.NewDecoder(answer.Body), socket, wait)
}

func followLeaving(ctx context.Context, c *cobra.Command, lines *json.Decoder, socket string, wait time.Duration) error {
	var last agent.Leaving
	for first := true; ; first = false {
		var now agent.Leaving
		err := lines.Decode(&now)
		left := fmt.Sprintf("%s, %s left", count(last.Pods, "pod"), count(last.Connections, "connection"))
		if last.Unsettled != "" {
			left += ", perhaps more: " + last.Unsettled
		}
		switch {
		case ctx.Err() == context.DeadlineExceeded:
			return hinted(fmt.Errorf("agent %q: has not let go of every pod after %v: %s", socket, wait, left), "run it again, with a longer --wait")
		case err != nil:
			return hinted(fmt.Errorf("agent %q: ended its answer with %s: %w", socket, left, err), "run it again, once an agent is there; "+remedy.Here().Say(remedy.AgentGone))
		case now.Done:
			fmt.Fprintln(c.OutOrStdout(), "the agent has let go of every pod")
			return nil
		}
		if first || now != last {
			fmt.Fprintf(c.OutOrStdout(), "the agent lets go: %s, %s left\n", count(now.Pods, "pod"), count(now.Connections, "connection"))
			if now.Unsettled != "" {
				fmt.Fprintln(c.OutOrStdout(), "  perhaps more:", now.Unsettled)
			}
		}
		last = now
	}
}
