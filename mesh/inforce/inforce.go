// Package inforce has what a store of mesh resources has in force, and tells those who
// subscribed of every change. A store embeds a State, which is what its readers see of it;
// the functions are for the store itself.
package inforce

import (
	"sync"

	"github.com/sluice-cni/sluice/mesh"
)

// State is a snapshot and how many errors there are in the resources as they stand, which
// are therefore not in the snapshot as they stand. The zero State has no snapshot yet.
type State struct {
	mu          sync.Mutex
	snapshot    *mesh.Snapshot
	errors      int
	generation  uint64 // counts the snapshots
	subscribers []func(*mesh.Snapshot, int)
}

// Snapshot is what is in force; nil as long as there is none.
func (s *State) Snapshot() *mesh.Snapshot {
	snapshot, _ := Latest(s)
	return snapshot
}

// Errors counts the errors among the issues.
func (s *State) Errors() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errors
}

// Subscribe calls update with the snapshot in force, when there is one, and with each
// new one. Calls come one at a time; update must not call the store.
func (s *State) Subscribe(update func(*mesh.Snapshot)) {
	s.SubscribeWithErrors(func(snapshot *mesh.Snapshot, _ int) { update(snapshot) })
}

// SubscribeWithErrors is Subscribe for who also wants to know how many errors there are.
func (s *State) SubscribeWithErrors(update func(snapshot *mesh.Snapshot, errors int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, update)
	if s.snapshot != nil {
		update(s.snapshot, s.errors)
	}
}

// Latest is the snapshot in force and its generation: 0 where there is none, and more
// with each.
func Latest(s *State) (snapshot *mesh.Snapshot, generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot, s.generation
}

// CountErrors has so many errors more, or fewer. Nobody is told before Publish.
func CountErrors(s *State, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors += more
}

// Publish tells everybody of a snapshot, which may be the one in force, with other errors.
func Publish(s *State, snapshot *mesh.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshot != snapshot {
		s.snapshot = snapshot
		s.generation++
	}
	for _, update := range s.subscribers {
		update(snapshot, s.errors)
	}
}
