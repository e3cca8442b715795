package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/proxy/aside"
)

// statusSocket is the admin socket of an agent. It is made under a name of its own, and
// comes to the agents' common one when this agent serves the node: until then the one
// before is asked there, which goes on answering whom it has.
type statusSocket struct {
	net.Listener
	path, own string
	log       *slog.Logger
	moved     func()
	at        func() string
}

func listenForStatus(path string, log *slog.Logger) (*statusSocket, error) {
	if err := ownDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("--run-dir %q: %w", filepath.Dir(path), reason(err))
	}
	s := &statusSocket{path: path, own: fmt.Sprintf("%s.%d", path, os.Getpid()), log: log}
	l, err := admin.Listen(s.own)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.own, reason(err))
	}
	if u, ok := l.(interface{ SetUnlinkOnClose(bool) }); ok {
		u.SetUnlinkOnClose(false)
	}
	s.Listener = l
	var mu sync.Mutex
	now := s.own
	s.at = func() string { mu.Lock(); defer mu.Unlock(); return now }
	s.moved = sync.OnceFunc(func() {
		mu.Lock()
		defer mu.Unlock()
		if err := os.Rename(s.own, s.path); err != nil {
			log.Warn("'sluice status' cannot ask this agent", "error", err)
			return
		}
		now = s.path
	})
	if !answered(path) {
		s.moved()
	}
	return s, nil
}

// take has the common name lead here.
func (s *statusSocket) take() { s.moved() }

func (s *statusSocket) serve(ctx context.Context, h http.Handler) error {
	return aside.Serve(ctx, s.Listener, h)
}

// remove removes the socket's file, if it is this agent's still.
func (s *statusSocket) remove() {
	s.Listener.Close()
	path := s.at()
	if path == s.path && answered(path) { // the next agent's
		return
	}
	os.Remove(path)
}

// answered says that somebody listens at a socket.
func answered(path string) bool {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	c.Close()
	return true
}

// handedOver is a TCP address that one agent after the other listens at: each until it
// retires, and the next from then on.
type handedOver struct {
	address string
	log     *slog.Logger

	mu    sync.Mutex
	l     net.Listener
	ended bool
}

// untilFree is how often it is tried to listen where another still does.
const untilFree = 200 * time.Millisecond

func (o *handedOver) serve(ctx context.Context, h http.Handler) error {
	if o.address == "" || o.address == "off" {
		return nil
	}
	l, err := o.listen(ctx)
	if err != nil || l == nil {
		return err
	}
	if err := aside.Serve(ctx, l, h); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil // by end
}

func (o *handedOver) listen(ctx context.Context) (net.Listener, error) {
	for said := false; ; {
		l, err := net.Listen("tcp", o.address)
		switch {
		case err == nil:
			o.log.Info("metrics", "address", l.Addr())
			return o.keep(l), nil
		case !errors.Is(err, unix.EADDRINUSE):
			return nil, fmt.Errorf("--metrics-listen %q: %w", o.address, reason(err))
		case !said:
			o.log.Info("metrics wait: the address is in use, by the agent before this one if it is all right", "address", o.address)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(untilFree):
		}
		if o.over() {
			return nil, nil
		}
	}
}

func (o *handedOver) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

func (o *handedOver) keep(l net.Listener) net.Listener {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		l.Close()
		return nil
	}
	o.l = l
	return l
}

// end gives the address up.
func (o *handedOver) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if o.l != nil {
		o.l.Close()
	}
}
