package metrics

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// source is what the labels say of a workload.
type source struct {
	workload, namespace, app, version   string
	canonicalService, canonicalRevision string
}

// unknown is Istio's word for a label without a value.
const unknown = "unknown"

// sourceOf follows Istio: the canonical service is the label of that name, else
// app.kubernetes.io/name, else app, else the workload's name; its revision is the
// label of that name, else app.kubernetes.io/version, else version, else "latest".
func sourceOf(w mesh.Workload) source {
	l := w.Labels
	return source{
		workload:  cmp.Or(w.Name, unknown),
		namespace: cmp.Or(w.Namespace, "default"),
		app:       cmp.Or(l["app"], unknown),
		version:   cmp.Or(l["version"], unknown),
		canonicalService: cmp.Or(l["service.istio.io/canonical-name"], l["app.kubernetes.io/name"], l["app"],
			w.Name, unknown),
		canonicalRevision: cmp.Or(l["service.istio.io/canonical-revision"], l["app.kubernetes.io/version"], l["version"], "latest"),
	}
}

// sourceSeries is everything counted for workloads with the same labels.
type sourceSeries struct {
	source

	handles map[*Workload]struct{} // guarded by Metrics.mu, as the next two are
	views   map[*mesh.View]int     // that so many of them follow
	goneAt  time.Time              // when the last handle was closed

	byCluster sync.Map // *mesh.Cluster ▸ *serviceSeries, of the snapshots in use

	mu       sync.Mutex
	services map[service]*serviceSeries

	accepted, retried, cut, linesLost atomic.Int64
	refused, wouldRefuse, failed      reasons
	dns                               dnsRequests
}

func newSourceSeries(src source) *sourceSeries {
	return &sourceSeries{source: src, handles: map[*Workload]struct{}{}, views: map[*mesh.View]int{}, services: map[service]*serviceSeries{}}
}

// service finds the series of a cluster's service, nil for no cluster.
func (s *sourceSeries) service(c *mesh.Cluster) *serviceSeries {
	if known, ok := s.byCluster.Load(c); ok {
		return known.(*serviceSeries)
	}
	id := serviceOf(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.services[id]
	if found == nil {
		found = &serviceSeries{service: id}
		s.services[id] = found
	}
	s.byCluster.Store(c, found)
	return found
}

// reasons counts by a word out of few.
type reasons struct {
	mu     sync.Mutex
	counts map[string]int64
}

func (r *reasons) add(reason string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[string]int64{}
	}
	r.counts[reason] += n
}

func (r *reasons) each(f func(reason string, n int64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, n := range r.counts {
		f(reason, n)
	}
}
