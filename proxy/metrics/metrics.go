// Package metrics counts what a proxy does and shows it to Prometheus: Istio's
// standard metrics under Istio's names, and sluice's own.
//
//	m := metrics.New("1.0.0")
//	w := m.Workload(mesh.Workload{Namespace: "default", Name: "shop"})
//	server, err := proxy.New(proxy.Config{Observer: w, …})
//	w.Watch(server)
//	names, err := dnsproxy.New(dnsproxy.Config{Observe: w.ObserveDNS, …})
//	err = metrics.Endpoint{Metrics: m, Ready: server.Ready}.Serve(ctx, listener)
//
// Label values are what the registry and the caller say, never what a client or a
// server sent; so their number is bounded whatever a pod does. A request costs
// some atomic additions and no allocation: series are made at first use, and turned
// into Prometheus' form when somebody scrapes. Those of a service that is
// registered no more, and of a workload that is closed, are dropped after Grace.
//
// It never uses Prometheus' global registry.
package metrics

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// Grace is how long the series of what is gone are still shown, so that the last
// scrapes see their last values.
const Grace = 5 * time.Minute

// Metrics counts for any number of workloads. All its methods may be called at
// any time by many goroutines.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time

	mu      sync.Mutex
	sources map[source]*sourceSeries

	dns    dnsCounts
	config configuration
}

// New makes an empty set; version is shown in sluice_build_info.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		now:      time.Now,
		sources:  map[source]*sourceSeries{},
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: helpOf("sluice_build_info"),
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m, build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registry is what is scraped; more may be registered there.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Workload begins to count for a workload. Replicas, which no label tells apart,
// share their series. Where its proxy follows it under other labels (Server.Follow), what
// comes then is counted under those. Close ends it.
func (m *Metrics) Workload(w mesh.Workload) *Workload {
	m.mu.Lock()
	defer m.mu.Unlock()
	handle := &Workload{metrics: m}
	m.enter(handle, sourceOf(w))
	return handle
}

// Workload counts for one workload. It is the proxy.Observer of its proxy.
type Workload struct {
	metrics *Metrics
	series  atomic.Pointer[sourceSeries]
	open    atomic.Int64 // connections

	// Guarded by metrics.mu.
	view     *mesh.View
	snapshot *mesh.Snapshot
	from     Pooler
}

// Pooler tells how many connections are open to each cluster: a proxy.Server.
type Pooler interface{ Pools() []proxy.Pool }

// Watch shows the pools of a server in this workload's metrics.
func (w *Workload) Watch(p Pooler) {
	w.metrics.mu.Lock()
	defer w.metrics.mu.Unlock()
	w.from = p
}

// Close ends the counting: what was counted is shown for Grace, then dropped.
func (w *Workload) Close() {
	m := w.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leave(w)
	m.config.follow(w.snapshot, nil)
	w.view, w.snapshot, w.from = nil, nil, nil
}

// Observe counts one event.
func (w *Workload) Observe(e proxy.Event) {
	s := w.series.Load()
	switch e.Kind {
	case proxy.RequestEnded:
		s.service(e.Cluster).requestEnded(&e)
	case proxy.TCPOpened:
		s.service(e.Cluster).tcp(noFlags).opened.Add(1)
	case proxy.TCPClosed:
		t := s.service(e.Cluster).tcp(e.Flags)
		t.closed.Add(1)
		t.received.Add(e.Received)
		t.sent.Add(e.Sent)
	case proxy.ConnectionAccepted:
		s.accepted.Add(1)
		w.open.Add(1)
	case proxy.ConnectionEnded:
		w.open.Add(-1)
	case proxy.Refused:
		s.refused.add(string(e.Refusal), 1)
	case proxy.WouldRefuse:
		s.wouldRefuse.add(string(e.Refusal), 1)
	case proxy.ConnectFailed:
		s.failed.add(string(e.Failure), 1)
	case proxy.Retried:
		s.retried.Add(1)
	case proxy.LogLinesLost:
		s.linesLost.Add(e.Count)
	case proxy.ConnectionsCut:
		s.cut.Add(e.Count)
	case proxy.ConfigurationInForce:
		w.metrics.follow(w, &e)
	}
}
