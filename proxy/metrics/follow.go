package metrics

import (
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// serviceSet is what a view registers. Workloads that follow one view share it.
type serviceSet struct {
	users int
	has   map[service]struct{}
}

// follow notes that a workload follows a view from now on.
func (m *Metrics) follow(w *Workload, view *mesh.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config.generation++
	m.config.loaded = m.now()
	if view != w.view {
		m.release(w)
		m.acquire(w, view)
	}
	m.sweep()
	// Clusters of earlier snapshots are not held on to. A request under way may
	// put one of them back; that lasts until the next snapshot.
	w.series.byCluster.Clear()
}

func (m *Metrics) acquire(w *Workload, view *mesh.View) {
	set := m.sets[view]
	if set == nil {
		set = &serviceSet{has: map[service]struct{}{}}
		for _, c := range view.Clusters() {
			set.has[serviceOf(c)] = struct{}{}
		}
		m.sets[view] = set
	}
	set.users++
	w.view, w.set = view, set
}

func (m *Metrics) release(w *Workload) {
	if w.set == nil {
		return
	}
	if w.set.users--; w.set.users == 0 {
		delete(m.sets, w.view)
	}
	w.view, w.set = nil, nil
}

// sweep drops what has been gone for longer than Grace. It runs whenever
// something may have gone, and before each scrape; so it needs no clock of its own.
func (m *Metrics) sweep() {
	now := m.now()
	for src, s := range m.sources {
		if len(s.handles) == 0 {
			if now.Sub(s.goneAt) > Grace {
				delete(m.sources, src)
			}
			continue
		}
		s.sweep(now)
	}
}

func (s *sourceSeries) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, series := range s.services {
		switch {
		case !id.registered() || s.follows(id):
			series.goneAt = time.Time{}
		case series.goneAt.IsZero():
			series.goneAt = now
		case now.Sub(series.goneAt) > Grace:
			delete(s.services, id)
			s.byCluster.Range(func(cluster, at any) bool {
				if at == series {
					s.byCluster.Delete(cluster)
				}
				return true
			})
		}
	}
}

// follows says that some workload with these labels sees a service.
func (s *sourceSeries) follows(id service) bool {
	for w := range s.handles {
		if w.set == nil {
			continue
		}
		if _, ok := w.set.has[id]; ok {
			return true
		}
	}
	return false
}
