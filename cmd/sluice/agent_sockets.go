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
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/inotify"
	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/proxy/aside"
)

// statusSocket is the admin socket of an agent. It is made under a name of its own, and
// comes to the agents' common one when this agent serves the node: until then the one
// before is asked there.
type statusSocket struct {
	path, own string
	log       *slog.Logger

	mu     sync.Mutex
	l      net.Listener
	file   os.FileInfo
	at     string // where its file is
	serves bool   // the common name is to lead here
	ended  bool   // the agent ends: nothing is taken any more
}

func listenForStatus(path string, log *slog.Logger) (*statusSocket, error) {
	if err := ownDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("--run-dir %q: %w", filepath.Dir(path), reason(err))
	}
	s := &statusSocket{path: path, own: fmt.Sprintf("%s.%d", path, os.Getpid()), log: log}
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.sweep()
	if !admin.Answers(path) { // which may be a moment's: who serves takes it back
		s.rename()
	}
	return s, nil
}

// sweep removes the sockets of agents that were killed before they had the common name.
func (s *statusSocket) sweep() {
	others, err := filepath.Glob(s.path + ".*")
	if err != nil {
		return
	}
	for _, other := range others {
		_, notNumber := strconv.Atoi(strings.TrimPrefix(other, s.path+"."))
		info, err := os.Lstat(other)
		if other == s.own || notNumber != nil || err != nil || time.Since(info.ModTime()) < strangersAge || admin.Answers(other) {
			continue
		}
		os.Remove(other)
	}
}

// strangersAge is how old a socket is that its agent has begun to listen at, if it lives.
const strangersAge = time.Minute

// listen opens the socket under its own name; s.mu is held, or nobody else has s yet.
func (s *statusSocket) listen() error {
	l, err := admin.Listen(s.own)
	if err != nil {
		return fmt.Errorf("%s: %w", s.own, reason(err))
	}
	if u, ok := l.(interface{ SetUnlinkOnClose(bool) }); ok {
		u.SetUnlinkOnClose(false) // the name may be another's by then
	}
	file, err := os.Lstat(s.own)
	if err != nil {
		l.Close()
		return fmt.Errorf("%s: %w", s.own, reason(err))
	}
	s.l, s.file, s.at = l, file, s.own
	return nil
}

// leadsHere: the common name is this agent's, and nobody renamed another's over it or
// removed it.
func (s *statusSocket) leadsHere() bool {
	now, err := os.Lstat(s.path)
	return err == nil && os.SameFile(now, s.file)
}

// keep has the common name lead here for as long as this agent is to have it. Of two
// agents each may think so for a moment, as when the holder is upgraded while agents
// are, and the one that was wrong takes the name with it when it ends; and somebody may
// clean the directory up.
func (s *statusSocket) keep(ctx context.Context) error {
	for range inotify.Changes(ctx, filepath.Dir(s.path)) {
		if !s.takeBack() {
			continue
		}
		select { // of two that want it neither takes it more often than this
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// takeBack takes the name again that this agent is to have and has lost. Nobody gives it
// up in the middle.
func (s *statusSocket) takeBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serves || s.leadsHere() {
		return false
	}
	s.log.Info("the agents' common socket was another's, or removed; it leads here again", "socket", s.path)
	if err := ownDir(filepath.Dir(s.path)); err != nil {
		s.log.Warn("'sluice status' cannot ask this agent", "error", err)
	}
	s.retakeLocked()
	return true
}

// give leaves the name to another.
func (s *statusSocket) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serves = false
}

// take has the common name lead here.
func (s *statusSocket) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serves = !s.ended
	switch had := s.at == s.path; {
	case !s.serves, had && s.leadsHere():
	case had:
		s.retakeLocked()
	default:
		s.rename()
	}
}

// rename has the name lead to the socket under this agent's own; s.mu is held.
func (s *statusSocket) rename() {
	if err := os.Rename(s.own, s.path); err != nil {
		s.log.Warn("'sluice status' cannot ask this agent", "error", err)
		return
	}
	s.at = s.path
}

// retake is take for an agent that had the name, and another has it or had it since.
func (s *statusSocket) retake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retakeLocked()
}

func (s *statusSocket) retakeLocked() {
	if s.ended {
		return
	}
	s.serves = true
	if _, err := os.Lstat(s.own); s.at == s.own && err == nil { // it never had it
		s.rename()
		return
	}
	before := s.l
	if err := s.listen(); err != nil {
		s.log.Warn("'sluice status' cannot ask this agent", "error", err)
		return
	}
	s.rename()
	before.Close()
}

func (s *statusSocket) current() net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l
}

// serve answers until ctx ends, at whichever socket is the current one.
func (s *statusSocket) serve(ctx context.Context, h http.Handler) error {
	for {
		l := s.current()
		if err := aside.Serve(ctx, l, h); ctx.Err() != nil || l == s.current() {
			return err
		}
	}
}

// remove removes the socket's file, if it is this agent's still.
func (s *statusSocket) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l.Close()
	s.serves, s.ended = false, true
	if s.at == s.path && !s.leadsHere() { // the next agent's
		return
	}
	os.Remove(s.at)
}

// handedOver is a TCP address that one agent after the other listens at: each until it
// retires, and the next from then on.
type handedOver struct {
	address string
	log     *slog.Logger
	again   chan struct{} // has a token after resume

	mu    sync.Mutex
	l     net.Listener
	ended bool
}

func newHandedOver(address string, log *slog.Logger) *handedOver {
	return &handedOver{address: address, log: log, again: make(chan struct{}, 1)}
}

// untilFree is how often it is tried to listen where another still does.
const untilFree = 200 * time.Millisecond

// serve answers at the address until ctx ends, whenever it is this agent's.
func (o *handedOver) serve(ctx context.Context, h http.Handler) error {
	if o.address == "" || o.address == "off" {
		return nil
	}
	for {
		l, err := o.listen(ctx)
		if err != nil {
			return err
		}
		if l != nil {
			if err := aside.Serve(ctx, l, h); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.again:
		}
	}
}

// listen waits until the address is free; nil when it is not this agent's any more.
func (o *handedOver) listen(ctx context.Context) (net.Listener, error) {
	for said := false; ; {
		l, err := net.Listen("tcp", o.address)
		switch {
		case err == nil:
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
	o.log.Info("metrics", "address", l.Addr())
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
		o.l = nil
	}
}

// resume takes it again, after end.
func (o *handedOver) resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = false
	select {
	case o.again <- struct{}{}:
	default:
	}
}
