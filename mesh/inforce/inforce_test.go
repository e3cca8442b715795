package inforce

import (
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// told is what a subscriber was called with.
type told struct {
	snapshot *mesh.Snapshot
	errors   int
}

func TestSubscribersAreToldOfWhatIsInForceAndOfWhatComes(t *testing.T) {
	t.Parallel()
	var s State
	var early, late []told
	s.SubscribeWithErrors(func(snapshot *mesh.Snapshot, errors int) { early = append(early, told{snapshot, errors}) })
	if s.Snapshot() != nil || early != nil {
		t.Errorf("before there is a snapshot: %v, told %v", s.Snapshot(), early)
	}
	first, second := new(mesh.Snapshot), new(mesh.Snapshot)
	Publish(&s, first)
	CountErrors(&s, 2)
	if s.Errors() != 2 || len(early) != 1 {
		t.Errorf("%d errors, told %v", s.Errors(), early)
	}
	Publish(&s, first) // with other errors
	s.SubscribeWithErrors(func(snapshot *mesh.Snapshot, errors int) { late = append(late, told{snapshot, errors}) })
	CountErrors(&s, -1)
	Publish(&s, second)
	if want := []told{{first, 0}, {first, 2}, {second, 1}}; !slices.Equal(early, want) {
		t.Errorf("who was there first is told %v, not %v", early, want)
	}
	if want := []told{{first, 2}, {second, 1}}; !slices.Equal(late, want) {
		t.Errorf("who came later is told %v, not %v", late, want)
	}
}

func TestTheGenerationCountsSnapshots(t *testing.T) {
	t.Parallel()
	var s State
	if _, n := Latest(&s); n != 0 {
		t.Errorf("%d without a snapshot", n)
	}
	first := new(mesh.Snapshot)
	for i, snapshot := range []*mesh.Snapshot{first, first, new(mesh.Snapshot)} {
		Publish(&s, snapshot)
		if got, n := Latest(&s); got != snapshot || n != []uint64{1, 1, 2}[i] {
			t.Errorf("%d: %p, generation %d", i, got, n)
		}
	}
}
