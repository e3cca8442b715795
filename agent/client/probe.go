package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder/wire"
)

// Ready says why the agent of a pod does not serve the node; pod "": whatever the pod.
func Ready(ctx context.Context, dir, pod string) error {
	var s agent.Serving
	if err := ask(ctx, dir, agent.ServingPath, &s); err != nil {
		return err
	}
	return notServing(s, pod)
}

func notServing(n agent.Serving, pod string) error {
	switch {
	case pod != "" && n.Instance != pod:
		return fmt.Errorf("the agent of another pod serves: process %d, pod %q", n.PID, n.Instance)
	case n.NotReady != "":
		return errors.New(n.NotReady)
	}
	return nil
}

// Alive says that an agent of this container does not answer. Each agent listens at the
// common socket or at one of its own beside it; one that listens nowhere starts, or drains
// since another took the name, and is no business of a probe: a process that ended is seen
// without.
func Alive(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	sockets, err := handover.Sockets(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range sockets {
		errs = append(errs, aliveAt(ctx, path, InThisContainer))
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
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := over(func(context.Context) (net.Conn, error) { return c, nil }).Do(request)
	if err != nil {
		return fmt.Errorf("%s: the agent, process %d, does not answer: %w", path, listener.Pid, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the agent, process %d: %s", path, listener.Pid, complaint(answer))
	}
	return nil
}

// complaint is what an answer says that is no good one.
func complaint(answer *http.Response) string {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
	return strings.TrimSpace(string(text))
}

// InThisContainer says that a process has this one's mount namespace, which is what a
// container's processes have in common, those that a probe starts among them.
func InThisContainer(pid int) bool {
	own, failed := os.Readlink("/proc/self/ns/mnt")
	other, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	// Where it cannot be told, the process ended meanwhile or is another container's: in
	// its own a probe has the rights of what it looks at.
	return failed == nil && err == nil && own == other
}
