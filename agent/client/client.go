// Package client asks a node's agents, for commands and for probes.
package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/proxy/observed"
)

// Patience is how long an agent may take to answer. One that stands still lets whoever asks
// connect, and never answers.
const Patience = 5 * time.Second

// ErrSilent: the agent has not answered for Patience.
var ErrSilent = fmt.Errorf("the agent has not answered for %v", Patience)

// Status asks the agent that listens in a directory how it is and what it does with each pod.
func Status(ctx context.Context, dir string) (s agent.Status, err error) {
	err = ask(ctx, dir, agent.StatusPath, &s)
	return s, err
}

// Observed asks it what outboundPolicy Observe let pass.
func Observed(ctx context.Context, dir string) (a observed.Answer, err error) {
	err = ask(ctx, dir, agent.ObservedPath, &a)
	return a, err
}

func ask(ctx context.Context, dir, path string, out any) error {
	asking, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	socket := filepath.Join(dir, handover.SocketName)
	err := (admin.Client{Path: socket}).Ask(asking, path, admin.Question{}, out)
	if err != nil && asking.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", socket, ErrSilent)
	}
	return err
}

// over has one HTTP client speak to whoever dial connects it with.
func over(dial func(context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx)
	}}}
}
