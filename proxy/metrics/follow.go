package metrics

import (
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// follow notes what a workload follows from now on, and what its labels are. It looks at
// the workload's own series only: hundreds of workloads follow each change, one by one.
func (m *Metrics) follow(w *Workload, e *proxy.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config.follow(w.snapshot, e.Snapshot)
	m.config.loaded = m.now()
	w.snapshot = e.Snapshot
	s := w.series.Load()
	old := w.view
	s.enterView(e.View)
	w.view = e.View
	if old != nil && s.leaveView(old) {
		s.sweep(m.now())
		// Clusters of earlier snapshots are not held on to. A request under way may
		// put one of them back; that lasts until the next snapshot.
		s.byCluster.Clear()
	}
	if e.Workload == nil {
		return
	}
	if src := sourceOf(*e.Workload); src != s.source {
		m.leave(w)
		m.enter(w, src)
	}
}

// enter has a workload count under such labels. The caller holds m.mu.
func (m *Metrics) enter(w *Workload, src source) {
	s := m.sources[src]
	if s == nil {
		s = newSourceSeries(src)
		m.sources[src] = s
	}
	s.handles[w] = struct{}{}
	s.goneAt = time.Time{}
	if w.view != nil {
		s.enterView(w.view)
	}
	w.series.Store(s)
}

// leave ends that. What was counted stays for Grace. The caller holds m.mu.
func (m *Metrics) leave(w *Workload) {
	s := w.series.Load()
	delete(s.handles, w)
	if w.view != nil && s.leaveView(w.view) {
		s.byCluster.Clear()
	}
	if len(s.handles) == 0 {
		s.goneAt = m.now()
	}
}

// enterView and leaveView count who of these labels follows a view. The latter says that
// nobody does any more.
func (s *sourceSeries) enterView(v *mesh.View) { s.views[v]++ }

func (s *sourceSeries) leaveView(v *mesh.View) bool {
	s.views[v]--
	if s.views[v] > 0 {
		return false
	}
	delete(s.views, v)
	return true
}

// sweep drops what has been gone for longer than Grace. It runs before each scrape, and
// for one source whenever something of it may have gone; so it needs no clock of its own.
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
	for v := range s.views {
		if v.Registers(id.host, id.registrant()) {
			return true
		}
	}
	return false
}
