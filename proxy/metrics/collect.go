package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cni/sluice/proxy"
)

// descriptions are Prometheus' form of the catalogue.
var descriptions = func() map[string]*prometheus.Desc {
	all := map[string]*prometheus.Desc{}
	for _, m := range Catalogue {
		all[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return all
}()

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for name, d := range descriptions {
		if name != "sluice_build_info" { // which collects itself
			ch <- d
		}
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	c := sink{ch}
	m.mu.Lock()
	m.sweep()
	sources := make([]*sourceSeries, 0, len(m.sources))
	pools, open := map[source][]Pooler{}, map[source]int64{}
	for src, s := range m.sources {
		sources = append(sources, s)
		for w := range s.handles {
			open[src] += w.open.Load()
			if w.from != nil {
				pools[src] = append(pools[src], w.from)
			}
		}
	}
	config := m.config
	m.mu.Unlock()

	for _, s := range sources {
		c.source(s, open[s.source])
		c.pools(s.source, pools[s.source])
		c.dns(s)
	}
	m.dns.collect(c)
	config.collect(c)
}

// sink sends metrics of the catalogue.
type sink struct{ ch chan<- prometheus.Metric }

func (c sink) counter(name string, v float64, labels ...string) {
	c.ch <- prometheus.MustNewConstMetric(descriptions[name], prometheus.CounterValue, v, labels...)
}

func (c sink) gauge(name string, v float64, labels ...string) {
	c.ch <- prometheus.MustNewConstMetric(descriptions[name], prometheus.GaugeValue, v, labels...)
}

// distribution is a histogram of whatever unit and buckets.
type distribution interface {
	read() (count uint64, sum float64, upTo map[float64]uint64)
}

func (c sink) histogram(name string, h distribution, labels []string) (count uint64) {
	count, sum, upTo := h.read()
	c.ch <- prometheus.MustNewConstHistogram(descriptions[name], count, sum, upTo, labels...)
	return count
}

func (c sink) source(s *sourceSeries, open int64) {
	own := []string{s.workload, s.namespace}
	c.gauge("sluice_connections", float64(open), own...)
	c.counter("sluice_connections_total", float64(s.accepted.Load()), own...)
	c.counter("sluice_upstream_retries_total", float64(s.retried.Load()), own...)
	c.counter("sluice_connections_cut_total", float64(s.cut.Load()), own...)
	c.counter("sluice_access_log_lines_lost_total", float64(s.linesLost.Load()), own...)
	s.refused.each(func(reason string, n int64) {
		c.counter("sluice_refused_total", float64(n), s.workload, s.namespace, reason)
	})
	s.wouldRefuse.each(func(reason string, n int64) {
		c.counter("sluice_would_refuse_total", float64(n), s.workload, s.namespace, reason)
	})
	s.failed.each(func(reason string, n int64) {
		c.counter("sluice_upstream_connect_failures_total", float64(n), s.workload, s.namespace, reason)
		if kind, tls := strings.CutPrefix(reason, "tls_"); tls {
			c.counter("sluice_tls_handshake_failures_total", float64(n), s.workload, s.namespace, kind)
		}
	})
	s.mu.Lock()
	services := make([]*serviceSeries, 0, len(s.services))
	for _, d := range s.services {
		services = append(services, d)
	}
	s.mu.Unlock()
	for _, d := range services {
		c.requests(s.source, d)
		c.streams(s.source, d)
	}
}

func (c sink) requests(src source, d *serviceSeries) {
	all := d.requests.Load()
	if all == nil {
		return
	}
	for o, r := range *all {
		labels := src.http(d.service, o)
		n := c.histogram("istio_request_duration_milliseconds", &r.duration, labels)
		c.counter("istio_requests_total", float64(n), labels...)
		c.histogram("istio_request_bytes", &r.received, labels)
		c.histogram("istio_response_bytes", &r.sent, labels)
		if o.grpc {
			c.counter("istio_request_messages_total", float64(r.messagesReceived.Load()), labels...)
			c.counter("istio_response_messages_total", float64(r.messagesSent.Load()), labels...)
		}
	}
}

func (c sink) streams(src source, d *serviceSeries) {
	all := d.streams.Load()
	if all == nil {
		return
	}
	for flags, t := range *all {
		labels := src.common(d.service, "tcp", flags)
		c.counter("istio_tcp_connections_opened_total", float64(t.opened.Load()), labels...)
		c.counter("istio_tcp_connections_closed_total", float64(t.closed.Load()), labels...)
		c.counter("istio_tcp_sent_bytes_total", float64(t.sent.Load()), labels...)
		c.counter("istio_tcp_received_bytes_total", float64(t.received.Load()), labels...)
	}
}

func (c sink) pools(src source, from []Pooler) {
	sum := map[string]proxy.Pool{}
	for _, f := range from {
		for _, p := range f.Pools() {
			s := sum[p.Cluster]
			s.Active += p.Active
			s.Idle += p.Idle
			sum[p.Cluster] = s
		}
	}
	for cluster, p := range sum {
		c.gauge("sluice_upstream_connections", float64(p.Active), src.workload, src.namespace, cluster, "active")
		c.gauge("sluice_upstream_connections", float64(p.Idle), src.workload, src.namespace, cluster, "idle")
	}
}
