// Package client speaks to the holder, for the plugin and for agents.
package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/internal/rest"
)

// Delays between two tries: a holder that is just being replaced answers within the
// first, one that has to be started by the kubelet needs the longer ones.
const (
	firstDelay  = 20 * time.Millisecond
	longestWait = 500 * time.Millisecond
)

// Hold hands a pod's sockets and its namespace to the holder at path: files are the
// sockets in the order of h.Sockets, then the namespace; they stay the caller's. When
// it returns without an error the holder keeps them, whatever becomes of this process.
//
// Where nobody is there, or the connection breaks before the answer, or the holder is
// busy, it tries again until ctx ends; the error says what came of the last try, and
// errors.Is finds the context's. What the holder refuses is a *wire.Refusal, at once.
// Holding the same pod again replaces the first.
func Hold(ctx context.Context, path string, h wire.Holding, files []*os.File) (wire.HeldReply, error) {
	var reply wire.HeldReply
	err := again(ctx, path, func(ctx context.Context) error {
		return call(ctx, path, wire.Hold, h, files, wire.Held, &reply)
	}, passing)
	return reply, err
}

// Release says that the attachment's pod is gone; without ifname, whatever the
// container has. Where nobody is there it gives up at
// once: a holder notices by itself when the namespace's path is gone. Where the
// connection breaks, as when the holder is being replaced, it tries again until ctx
// ends.
func Release(ctx context.Context, path, containerID, ifname string) error {
	r := wire.Releasing{ContainerID: containerID, Interface: ifname}
	return again(ctx, path, func(ctx context.Context) error {
		return call(ctx, path, wire.Release, r, nil, wire.Released, nil)
	}, func(err error) bool { return present(err) && passing(err) })
}

// present: a try that failed did not fail for want of a holder.
func present(err error) bool {
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED)
}

// Status asks the holder how it is.
func Status(ctx context.Context, path string) (s wire.HolderStatus, err error) {
	err = call(ctx, path, wire.Status, nil, nil, wire.Status, &s)
	return s, err
}

// again tries until it succeeds, is refused for good, or ctx ends.
func again(ctx context.Context, path string, try func(context.Context) error, worth func(error) bool) error {
	for delay := firstDelay; ; delay = min(2*delay, longestWait) {
		err := try(ctx)
		if err == nil || !worth(err) {
			return err
		}
		if rest.For(ctx, delay) != nil {
			return fmt.Errorf("sluice holder at %s: %w: %w; %s", path, ctx.Err(), err, remedy.Here().Say(remedy.Holder))
		}
	}
}

// passing: it may be otherwise in a moment.
func passing(err error) bool {
	var refusal *wire.Refusal
	return !errors.As(err, &refusal) || refusal.Code == wire.CodeBusy
}

// call is one question and its answer, on a connection of its own.
func call(ctx context.Context, path string, ask wire.Kind, question any, files []*os.File, want wire.Kind, answer any) error {
	c, err := wire.Dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return exchange(ctx, c, ask, question, files, want, answer)
}

// exchange asks and reads the answer. A holder that refuses the peer says so before it
// has been asked, and closes: then asking fails, and the refusal is there to be read.
func exchange(ctx context.Context, c *wire.Conn, ask wire.Kind, question any, files []*os.File, want wire.Kind, answer any) error {
	unsent := c.Send(ask, question, files...)
	deadline, _ := ctx.Deadline()
	if unsent != nil {
		deadline = time.Now().Add(time.Second)
	}
	m, err := c.Receive(deadline)
	switch {
	case unsent != nil && (err != nil || m.Kind != wire.Refused):
		m.Close()
		return because(ctx, unsent)
	case err != nil:
		return because(ctx, fmt.Errorf("no answer to %s: %w", ask, err))
	}
	defer m.Close()
	return read(m, want, answer)
}

// because names the end of ctx rather than the closed connection it left behind.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%v)", ctx.Err(), err)
	}
	return err
}

// read takes an answer of the wanted kind into v; a refusal is its error.
func read(m wire.Message, want wire.Kind, v any) error {
	switch m.Kind {
	case want:
		if v == nil {
			return nil
		}
		return m.Into(v)
	case wire.Refused:
		refusal := new(wire.Refusal)
		if err := m.Into(refusal); err != nil {
			return err
		}
		return refusal
	default:
		return fmt.Errorf("the holder answered %s instead of %s", m.Kind, want)
	}
}
