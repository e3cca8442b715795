package handover

import (
	"context"
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

	"github.com/sluice-cni/sluice/internal/inotify"
	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/proxy/aside"
)

// SocketName is the common name, in the directory that the agents have in common.
const SocketName = "agent.sock"

// Sockets are those in a directory at which agents listen, or did: the one with the common
// name, and those of agents that do not serve.
func Sockets(dir string) ([]string, error) {
	return filepath.Glob(filepath.Join(dir, SocketName) + "*")
}

// Socket is the admin socket of an agent. It is made under a name of its own, and comes to
// the agents' common one when this agent serves the node: until then the one before is asked
// there.
type Socket struct {
	path, own string
	log       *slog.Logger

	mu     sync.Mutex
	l      net.Listener
	file   os.FileInfo
	at     string // where its file is
	serves bool   // the common name is to lead here
	ended  bool   // the agent ends: nothing is taken any more
}

// OwnDir makes a directory of root's alone.
func OwnDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return os.Chmod(filepath.Clean(path), 0o700)
}

// Listen opens the socket whose common name is path, in a directory of root's alone, which is
// made.
func Listen(path string, log *slog.Logger) (*Socket, error) {
	if err := OwnDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	s := &Socket{path: path, own: fmt.Sprintf("%s.%d", path, os.Getpid()), log: log}
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
func (s *Socket) sweep() {
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
func (s *Socket) listen() error {
	l, err := admin.Listen(s.own)
	if err != nil {
		return fmt.Errorf("%s: %w", s.own, err)
	}
	if u, ok := l.(interface{ SetUnlinkOnClose(bool) }); ok {
		u.SetUnlinkOnClose(false) // the name may be another's by then
	}
	file, err := os.Lstat(s.own)
	if err != nil {
		l.Close()
		return fmt.Errorf("%s: %w", s.own, err)
	}
	s.l, s.file, s.at = l, file, s.own
	return nil
}

// leadsHere: the common name is this agent's, and nobody renamed another's over it or
// removed it.
func (s *Socket) leadsHere() bool {
	now, err := os.Lstat(s.path)
	return err == nil && os.SameFile(now, s.file)
}

// Keep has the common name lead here for as long as this agent is to have it. Of two
// agents each may think so for a moment, as when the holder is upgraded while agents
// are, and the one that was wrong takes the name with it when it ends; and somebody may
// clean the directory up.
func (s *Socket) Keep(ctx context.Context) error {
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
func (s *Socket) takeBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serves || s.leadsHere() {
		return false
	}
	s.log.Info("the agents' common socket was another's, or removed; it leads here again", "socket", s.path)
	if err := OwnDir(filepath.Dir(s.path)); err != nil {
		s.log.Warn("'sluice status' cannot ask this agent", "error", err)
	}
	s.retakeLocked()
	return true
}

// Give leaves the name to another.
func (s *Socket) Give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serves = false
}

// Take has the common name lead here.
func (s *Socket) Take() {
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
func (s *Socket) rename() {
	if err := os.Rename(s.own, s.path); err != nil {
		s.log.Warn("'sluice status' cannot ask this agent", "error", err)
		return
	}
	s.at = s.path
}

// Retake is Take for an agent that had the name, and another has it or had it since.
func (s *Socket) Retake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retakeLocked()
}

func (s *Socket) retakeLocked() {
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

func (s *Socket) current() net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l
}

// Serve answers until ctx ends, at whichever socket is the current one.
func (s *Socket) Serve(ctx context.Context, h http.Handler) error {
	for {
		l := s.current()
		if err := aside.Serve(ctx, l, h); ctx.Err() != nil || l == s.current() {
			return err
		}
	}
}

// Remove removes the socket's file, if it is this agent's still.
func (s *Socket) Remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l.Close()
	s.serves, s.ended = false, true
	if s.at == s.path && !s.leadsHere() { // the next agent's
		return
	}
	os.Remove(s.at)
}
