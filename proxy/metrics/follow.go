package metrics

import (
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// follow notes that a workload follows a view from now on.
func (m *Metrics) follow(w *Workload, view *mesh.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config.generation++
	m.config.loaded = m.now()
	w.view = view
	m.sweep()
	// Clusters of earlier snapshots are not held on to. A request under way may
	// put one of them back; that lasts until the next snapshot.
	w.series.byCluster.Clear()
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
	asked := make(map[*mesh.View]bool)
	for w := range s.handles {
		if w.view == nil || asked[w.view] {
			continue
		}
		asked[w.view] = true
		if w.view.Registers(id.host, id.registrant()) {
			return true
		}
	}
	return false
}
