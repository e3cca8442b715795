package metrics

import (
	"cmp"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/proxy/dnsproxy"
)

// ObserveDNS counts one query of the workload. It is the Observe of its
// dnsproxy.Config.
func (w *Workload) ObserveDNS(e dnsproxy.Event) {
	d := &w.series.Load().dns
	d.count(dnsOutcome{e.Transport, cmp.Or(e.Type, unknown), e.Rcode, e.Source}).Add(1)
	if e.Source != dnsproxy.Malformed { // which took no time that was measured
		d.duration(e.Source).observe(e.Duration)
	}
}

// dnsRequests counts what a workload asks. Events have few values of each field, so
// there are few series.
type dnsRequests struct {
	mu        sync.Mutex // of those who add
	counts    atomic.Pointer[map[dnsOutcome]*atomic.Int64]
	durations atomic.Pointer[map[dnsproxy.Source]*latencies]
}

type dnsOutcome struct {
	transport, qtype, rcode string
	source                  dnsproxy.Source
}

func (d *dnsRequests) count(o dnsOutcome) *atomic.Int64 {
	return among(&d.mu, &d.counts, o)
}

func (d *dnsRequests) duration(s dnsproxy.Source) *latencies {
	return among(&d.mu, &d.durations, s)
}

// latencies is a histogram of CoreDNS' buckets: 0.25 ms, and twice as much each
// time, to 8.192 s.
type latencies struct {
	buckets [len(latencyBounds) + 1]atomic.Uint64 // one more for what is above all
	sum     atomic.Uint64                         // microseconds
}

const shortestLatency = 250 // microseconds

var latencyBounds = func() (seconds [16]float64) {
	for i := range seconds {
		seconds[i] = float64(uint64(shortestLatency)<<i) / 1e6
	}
	return seconds
}()

func (l *latencies) observe(d time.Duration) {
	us := uint64(max(d.Microseconds(), 0))
	i := bits.Len64((max(us, 1) - 1) / shortestLatency)
	l.buckets[min(i, len(latencyBounds))].Add(1)
	l.sum.Add(us)
}

func (l *latencies) read() (count uint64, sum float64, upTo map[float64]uint64) {
	count, upTo = cumulate(l.buckets[:], latencyBounds[:])
	return count, float64(l.sum.Load()) / 1e6, upTo
}

func (c sink) dns(s *sourceSeries) {
	if all := s.dns.counts.Load(); all != nil {
		for o, n := range *all {
			c.counter("sluice_dns_requests_total", float64(n.Load()), s.workload, s.namespace, o.transport, o.qtype, o.rcode, string(o.source))
		}
	}
	if all := s.dns.durations.Load(); all != nil {
		for source, l := range *all {
			c.histogram("sluice_dns_request_duration_seconds", l, []string{s.workload, s.namespace, string(source)})
		}
	}
}
