package proxy

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// spare holds a descriptor for the time when there is no other: without it a connection
// could not even be refused, and its client would wait. Servers of one Shares have one
// together.
type spare struct {
	mu   sync.RWMutex // held for reading by those that accept: none takes what has been given up
	held *os.File     // nil: somebody was faster
}

func newSpare() *spare {
	s := &spare{}
	s.hold()
	return s
}

func (s *spare) hold() {
	f, err := os.Open(os.DevNull)
	if err != nil {
		f = nil
	}
	s.held = f
}

// taking runs accept while the descriptor is held, provided that it is: whatever comes
// next could be refused.
func (s *spare) taking(accept func() unix.Errno) unix.Errno {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.held == nil {
		return unix.EMFILE
	}
	return accept()
}

// lend gives the descriptor up while use runs. It reports false where there is none to
// be held, or use says so.
func (s *spare) lend(use func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil { // the first that is free is kept, before any is used
		s.hold()
		return s.held != nil
	}
	s.held.Close()
	used := use()
	s.hold()
	return used
}

func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		s.held.Close()
		s.held = nil
	}
}
