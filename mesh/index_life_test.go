package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"weak"
)

// Snapshots share what did not change, and yet none keeps those before it.
func TestASnapshotThatNobodyHoldsIsGone(t *testing.T) {
	t.Parallel()
	r := drawn{rand.New(rand.NewPCG(1, 7))}
	index := NewIndex(Options{Virtual: assignInTurn})
	there := make([]Place, 40)
	var snapshots []weak.Pointer[Snapshot]
	var views []weak.Pointer[View]
	var listeners []weak.Pointer[Listener]
	for step := range 80 {
		at := r.IntN(len(there))
		var removed []*Resource
		if there[at].Resource != nil {
			removed = append(removed, there[at].Resource)
		}
		there[at] = Place{Resource: r.resource(at), Position: at}
		s := index.Change(removed, there[at:at+1])
		snapshots = append(snapshots, weak.Make(s))
		for _, w := range workloads {
			v := s.View(w)
			views = append(views, weak.Make(v))
			if step%7 == 0 {
				_ = slices.Collect(v.Ways(func(uint16, string) bool { return true }))
			}
			for _, name := range probes {
				v.Name(name)
				for _, port := range []uint16{80, 443, 9} {
					if l := v.Listener(port); l != nil {
						listeners = append(listeners, weak.Make(l))
						l.MatchHTTP([]byte(name))
						l.MatchTLS(name, netip.MustParseAddr("192.0.2.1"))
						l.MatchTCP(netip.MustParseAddr("192.0.2.1"))
						l.CandidatesTCP(netip.MustParseAddr("192.0.2.1"))
					}
				}
			}
		}
	}
	runtime.GC()
	runtime.GC()
	alive := func(n int, held func(int) bool) (count int) {
		for i := range n {
			if held(i) {
				count++
			}
		}
		return count
	}
	if n := alive(len(snapshots), func(i int) bool { return snapshots[i].Value() != nil }); n > 1 {
		t.Errorf("%d snapshots are held", n)
	}
	if n := alive(len(views), func(i int) bool { return views[i].Value() != nil }); n > len(workloads) {
		t.Errorf("%d views are held", n)
	}
	seen := map[*Listener]bool{}
	for _, l := range listeners {
		if p := l.Value(); p != nil {
			seen[p] = true
		}
	}
	if n := len(seen); n > 3*len(workloads) {
		t.Errorf("%d listeners are held", n)
	}
	runtime.KeepAlive(index)
}

func TestViewsMayBeAskedWhileTheConfigurationChanges(t *testing.T) {
	t.Parallel()
	r := drawn{rand.New(rand.NewPCG(2, 7))}
	index := NewIndex(Options{Virtual: assignInTurn})
	var newest atomic.Pointer[Snapshot]
	newest.Store(index.Snapshot())
	var all sync.WaitGroup
	stop := make(chan struct{})
	for g := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(g)))
			var old []*Snapshot
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := newest.Load()
				if old = append(old, s); len(old) > 5 {
					old = old[1:]
				}
				if r.IntN(3) == 0 {
					s = old[r.IntN(len(old))]
				}
				v := s.View(workloads[r.IntN(len(workloads))])
				name := probes[r.IntN(len(probes))]
				first := fmt.Sprintf("%+v", v.Name(name))
				if again := fmt.Sprintf("%+v", v.Name(name)); again != first {
					t.Errorf("%s: first %s, then %s", name, first, again)
				}
				for _, port := range []uint16{80, 443, 9} {
					if l := v.Listener(port); l != nil {
						a := shown(l.MatchHTTP([]byte(name)))
						l.MatchTLS(name, netip.MustParseAddr("192.0.2.1"))
						l.MatchTCP(netip.MustParseAddr("192.0.2.1"))
						l.CandidatesTCP(netip.MustParseAddr("192.0.2.1"))
						if b := shown(l.MatchHTTP([]byte(name))); a != b {
							t.Errorf("%s: first %s, then %s", name, a, b)
						}
					}
				}
			}
		})
	}
	there := make([]Place, 40)
	for range 600 {
		at := r.IntN(len(there))
		var removed []*Resource
		if there[at].Resource != nil {
			removed = append(removed, there[at].Resource)
		}
		there[at] = Place{Resource: r.resource(at), Position: at}
		newest.Store(index.Change(removed, there[at:at+1]))
	}
	close(stop)
	all.Wait()
}
