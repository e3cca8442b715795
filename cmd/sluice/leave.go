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
)

// leaving is a line of the agent's answer to POST /v1/leave.
type leaving struct {
	Pods        int    `json:"pods"`        // that are still captured or drained
	Connections int    `json:"connections"` // of theirs that are open
	Error       string `json:"error,omitempty"`
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
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent/v1/leave", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return hinted(fmt.Errorf("agent %q: nobody listens there, so pods that are captured stay so", socket),
			"'sluice cleanup' takes the rules out of them; --agent off says that there is no agent")
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
	last := leaving{Pods: -1}
	for {
		var now leaving
		err := lines.Decode(&now)
		switch {
		case err == io.EOF && last.Pods == 0:
			fmt.Fprintln(c.OutOrStdout(), "the agent has let go of every pod")
			return nil
		case ctx.Err() == context.DeadlineExceeded:
			return hinted(fmt.Errorf("agent %q: has not let go of %d pods with %d connections after %v", socket, last.Pods, last.Connections, wait), "run it again, with a longer --wait")
		case err != nil:
			return hinted(fmt.Errorf("agent %q: ended its answer with %d pods left: %w", socket, last.Pods, err), "run it again; 'sluice cleanup' is for nodes whose agent is gone")
		case now.Error != "":
			return fmt.Errorf("agent %q: %s", socket, now.Error)
		}
		if now != last {
			fmt.Fprintf(c.OutOrStdout(), "the agent lets go: %s, %s left\n", count(now.Pods, "pod"), count(now.Connections, "connection"))
		}
		last = now
	}
}
