package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/proxy/admin"
)

// probeReady says why the agent of this pod does not serve the node.
func (o statusOptions) probeReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var s agent.Serving
	err := (admin.Client{Path: filepath.Join(o.runDir, handover.SocketName)}).Ask(ctx, agent.ServingPath, admin.Question{}, &s)
	if err != nil {
		return err
	}
	return notServing(s, os.Getenv("POD_UID"))
}

// notServing is nil if the agent serves, and is that of the pod; "": whatever the pod.
func notServing(n agent.Serving, pod string) error {
	switch {
	case pod != "" && n.Instance != pod:
		return fmt.Errorf("the agent of another pod serves: process %d, pod %q", n.PID, n.Instance)
	case n.NotReady != "":
		return errors.New(n.NotReady)
	}
	return nil
}

// probeHolder says why the holder of this container does not hold the node's pods: none
// answers, or one does whose process is not one of mine. Who made the socket says nothing,
// since each holder hands it on to the next.
func (o statusOptions) probeHolder(ctx context.Context, mine func(pid int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	s, err := client.Status(ctx, filepath.Join(o.runDir, holder.SocketName))
	if err == nil && !mine(s.PID) {
		err = fmt.Errorf("the holder of another container holds the pods: process %d", s.PID)
	}
	return err
}

// probeAlive says that an agent of this container does not answer. Each agent listens at
// the common socket or at one of its own beside it; one that listens nowhere starts, or
// drains since another took the name, and is no business of a probe: a process that ended
// is seen without.
func (o statusOptions) probeAlive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	sockets, err := filepath.Glob(filepath.Join(o.runDir, handover.SocketName) + "*")
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range sockets {
		errs = append(errs, aliveAt(ctx, path, inThisContainer))
	}
	return errors.Join(errs...)
}

// aliveAt says that the agent at a socket does not answer, if its process is one of mine.
func aliveAt(ctx context.Context, path string, mine func(pid int) bool) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) { // a full queue; whose it is cannot be told: nobody took it from the kernel
			return fmt.Errorf("%s: nobody accepts connections", path)
		}
		return nil // nobody listens
	}
	defer c.Close()
	listener, err := wire.NewConn(c.(*net.UnixConn)).Peer()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !mine(int(listener.Pid)) {
		return nil
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return c, nil
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: the agent, process %d, does not answer: %w", path, listener.Pid, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("%s: the agent, process %d: %s", path, listener.Pid, strings.TrimSpace(string(text)))
	}
	return nil
}

// inThisContainer says that a process has this one's mount namespace, which is what a
// container's processes have in common, those that a probe starts among them.
func inThisContainer(pid int) bool {
	own, failed := os.Readlink("/proc/self/ns/mnt")
	other, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	// Where it cannot be told, the process ended meanwhile or is another container's: in
	// its own a probe has the rights of what it looks at.
	return failed == nil && err == nil && own == other
}
