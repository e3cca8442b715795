package policydir

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/internal/inotify"
	"github.com/sluice-cni/sluice/selection"
)

const (
	// settleTime is how long the directory must be quiet before it is read: an editor or
	// a copy writes in several steps. A directory that is never quiet is read by polls.
	settleTime = 40 * time.Millisecond
	// pollTime is how often files are looked at for what no notification tells: a
	// directory that is made or replaced, links into others, network file systems.
	pollTime = time.Second
)

// Source follows a directory of policy files. It is a selection.Source.
type Source struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	problem string
}

var _ selection.Source = (*Source)(nil)

// New makes a Source of the directory.
func New(dir string, log *slog.Logger) *Source { return &Source{dir: dir, log: log} }

// Problem is what is wrong with the files now, "" for nothing: then another policy than
// theirs is in force.
func (s *Source) Problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

// Run calls update with the policy, and with each other one, until ctx ends; then it
// returns nil. While files have errors nothing is updated: the policy that was given
// last stays in force as a whole, and the log says what is wrong.
func (s *Source) Run(ctx context.Context, update func(*selection.Policy)) error {
	ctx, cancel := context.WithCancel(ctx)
	changes := inotify.Changes(ctx, s.dir)
	defer func() {
		cancel()
		for range changes { // until nothing of it is left
		}
	}()
	poll, settled := time.NewTicker(pollTime), time.NewTimer(0)
	defer poll.Stop()
	defer settled.Stop()
	var seen string
	var last *selection.Policy
	look := func() {
		now := s.signature()
		if now == seen {
			return
		}
		seen = now
		if p := s.compile(); p != nil && (last == nil || !selection.Same(p, last)) {
			last = p
			update(p)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
			seen = "" // times may be too coarse to show a change
			settled.Reset(settleTime)
		case <-settled.C:
			look()
		case <-poll.C:
			look()
		}
	}
}

func (s *Source) compile() *selection.Policy {
	p, err := Compile(s.dir)
	text := ""
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	s.mu.Lock()
	before := s.problem
	s.problem = text
	s.mu.Unlock()
	switch {
	case text != "" && text != before:
		s.log.Error("the selection policy cannot be used; the one that was read last stays in force", "dir", s.dir, "error", text)
	case text == "" && before != "":
		s.log.Info("the selection policy can be used again", "dir", s.dir)
	}
	return p
}

// signature changes when a file may have changed.
func (s *Source) signature() string {
	names, err := files(s.dir)
	if err != nil {
		return "error " + err.Error()
	}
	var b strings.Builder
	for _, name := range names {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			fmt.Fprintf(&b, "%q %v\n", name, err)
			continue
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%q %d %d %d %v\n", name, info.Size(), info.ModTime().UnixNano(), st.Ino, st.Ctim)
	}
	return b.String() + "." // not the same as nothing seen yet
}
