package metrics

import (
	"cmp"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// service is what the labels say of a destination. Ports and subsets of one host
// are not told apart, as in Istio.
type service struct{ host, name, namespace string }

// registered says that a resource stands behind it.
func (s service) registered() bool { return s.host != unknown }

// registrant is the namespace of the resource, "" where routes name the host and nobody
// registers it.
func (s service) registrant() string {
	if s.namespace == unknown {
		return ""
	}
	return s.namespace
}

func serviceOf(c *mesh.Cluster) service {
	switch {
	case c == nil:
		return service{unknown, unknown, unknown}
	case c.Host == "": // BlackHoleCluster and its like
		return service{unknown, c.Name, unknown}
	}
	return service{c.Host, c.Host, cmp.Or(c.Source.Namespace, unknown)}
}

// serviceSeries is everything counted from one source to one service.
type serviceSeries struct {
	service
	goneAt time.Time // guarded by Metrics.mu: when it was first seen to be registered no more

	mu       sync.Mutex // of those who add
	requests atomic.Pointer[map[outcome]*requestSeries]
	streams  atomic.Pointer[map[string]*tcpSeries] // by flags
}

// outcome is what tells requests to one service apart.
type outcome struct {
	code       int // a status; 1 to 9 are all of 1xx to 9xx
	flags      string
	grpc       bool
	grpcStatus int8 // -1: none
}

// maxOutcomes bounds what a server can do to the number of series by answering
// with ever new statuses. From there on only the class of a status is told.
const maxOutcomes = 64

const noFlags = "-"

type requestSeries struct {
	duration, received, sent       histogram
	messagesReceived, messagesSent atomic.Int64
}

type tcpSeries struct{ opened, closed, received, sent atomic.Int64 }

func (s *serviceSeries) requestEnded(e *proxy.Event) {
	o := outcome{code: e.Status, flags: cmp.Or(e.Flags, noFlags), grpcStatus: -1}
	if e.GRPC {
		o.grpc, o.grpcStatus = true, grpcCode(e.GRPCStatus)
	}
	r := s.request(o)
	r.duration.observe(uint64(max(e.Duration.Microseconds(), 0)))
	r.received.observe(uint64(max(e.Received, 0)) * 1000)
	r.sent.observe(uint64(max(e.Sent, 0)) * 1000)
	if e.GRPC {
		r.messagesReceived.Add(e.MessagesReceived)
		r.messagesSent.Add(e.MessagesSent)
	}
}

// grpcCode keeps the codes there are (0 to 16); a server can send any number.
func grpcCode(code int) int8 {
	switch {
	case code < 0:
		return -1
	case code > 16:
		return 2 // UNKNOWN, which is what a client makes of it
	}
	return int8(code)
}

func (s *serviceSeries) request(o outcome) *requestSeries {
	if all := s.requests.Load(); all != nil {
		if r := (*all)[o]; r != nil {
			return r
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.requests.Load(); all != nil && len(*all) >= maxOutcomes {
		o = outcome{code: o.code / 100, flags: unknown, grpc: o.grpc, grpcStatus: -1}
	}
	return addTo(&s.requests, o)
}

func (s *serviceSeries) tcp(flags string) *tcpSeries {
	return among(&s.mu, &s.streams, cmp.Or(flags, noFlags))
}

// among gives what a map has for a key, adding it under mu where there is nothing.
func among[K comparable, V any](mu *sync.Mutex, at *atomic.Pointer[map[K]*V], key K) *V {
	if all := at.Load(); all != nil {
		if v := (*all)[key]; v != nil {
			return v
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return addTo(at, key)
}

// addTo gives what a map has for a key, adding it to a copy that replaces the
// map: readers need no lock.
func addTo[K comparable, V any](at *atomic.Pointer[map[K]*V], key K) *V {
	old := at.Load()
	if old != nil && (*old)[key] != nil {
		return (*old)[key]
	}
	added := map[K]*V{}
	if old != nil {
		maps.Copy(added, *old)
	}
	v := new(V)
	added[key] = v
	at.Store(&added)
	return v
}
