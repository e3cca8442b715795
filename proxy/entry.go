package proxy

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// entry is what is known of a request or connection while it lasts; at its end
// record tells the log, the access log and the observer.
type entry struct {
	start    time.Time
	delayed  bool          // by a fault of its rule
	waited   time.Duration // for as long
	protocol string        // http, tls or tcp
	version  string        // of HTTP, as the access log has it: HTTP/1.1

	// Reused from request to request. The last three are kept for the access log only.
	method, path, authority            []byte
	userAgent, forwardedFor, requestID []byte
	serverName                         string

	status           int
	flags, details   string
	termination      string // why the application's connection was ended
	transportFailure string
	received, sent   int64 // bodies
	headReceived     int64
	headSent         int64
	serviceTime      time.Duration

	// gRPC, where the request was one.
	grpc                           bool
	grpcStatus                     int // -1: none came
	messagesReceived, messagesSent int64

	source, destination         netip.AddrPort
	upstreamHost, upstreamLocal netip.AddrPort
	cluster                     *mesh.Cluster // nil: none was chosen
	route                       string
	refusal                     Refusal // why it was not let through, "" when it was
	wouldRefuse                 Refusal // why REGISTRY_ONLY would not let it through, "" but under Observe
	failure                     error   // what the operator should read, beyond the flags
	opened                      bool    // the observer knows of this connection
	hurried                     bool    // it is recorded on an event loop, where nothing may wait
}

// reset makes e ready for another request, keeping its memory.
func (e *entry) reset(protocol string, start time.Time, c *connection) {
	*e = entry{
		method: e.method[:0], path: e.path[:0], authority: e.authority[:0],
		userAgent: e.userAgent[:0], forwardedFor: e.forwardedFor[:0], requestID: e.requestID[:0],
		protocol: protocol, start: start, source: c.src, destination: c.dst,
	}
}

// entry begins the line of a connection that carries opaque bytes.
func (c *connection) entry(protocol string) *entry {
	e := &entry{}
	e.reset(protocol, time.Now(), c)
	return e
}

// detach copies what is reused from request to request, for an entry that
// outlives its request.
func (e *entry) detach() *entry {
	d := *e
	for _, b := range []*[]byte{&d.method, &d.path, &d.authority, &d.userAgent, &d.forwardedFor, &d.requestID} {
		*b = bytes.Clone(*b)
	}
	return &d
}

// fail notes why no endpoint was reached.
func (e *entry) fail(err error) {
	e.failure = err
	e.flags, e.details = "UF", err.Error()
	if isOverload(err) {
		e.flags, e.refusal = "UO", Overloaded
	}
	var ce *connectError
	if errors.As(err, &ce) {
		e.transportFailure = ce.reason()
	}
	if all, is := err.(*ejection); is {
		e.flags, e.transportFailure = "UH", all.transport
	}
}

// tried begins a try at a host: what became of the one before is forgotten.
func (e *entry) tried(host, local netip.AddrPort) {
	e.upstreamHost, e.upstreamLocal = host, local
	e.failure, e.transportFailure = nil, ""
}

func (e *entry) host() string {
	if e.serverName != "" {
		return e.serverName
	}
	return string(e.authority)
}

func (e *entry) clusterName() string {
	if e.cluster == nil {
		return ""
	}
	return e.cluster.Name
}

// record ends a request or connection.
func (s *Server) record(e *entry) {
	if e.delayed {
		e.flags, e.delayed = withDelay(e.flags), false
	}
	s.tell(e)
	if s.access == nil && s.cfg.Observer == nil {
		return
	}
	now := time.Now()
	if s.access != nil {
		s.access.write(e, now, s.workload.Load())
	}
	if s.cfg.Observer != nil {
		s.count(e, now.Sub(e.start))
	}
}

// count tells the observer.
func (s *Server) count(e *entry, took time.Duration) {
	event := Event{Kind: RequestEnded, Cluster: e.cluster, Flags: e.flags, Duration: took, Received: e.received, Sent: e.sent}
	if e.protocol == "http" {
		event.Status, event.GRPC, event.GRPCStatus = e.status, e.grpc, e.grpcStatus
		event.Received += e.headReceived
		event.Sent += e.headSent
		event.MessagesReceived, event.MessagesSent = e.messagesReceived, e.messagesSent
	} else {
		s.opened(e)
		event.Kind = TCPClosed
	}
	s.observe(event)
}

// opened tells the observer, once, that an opaque connection is carried.
func (s *Server) opened(e *entry) {
	if !e.opened && s.cfg.Observer != nil {
		e.opened = true
		s.observe(Event{Kind: TCPOpened, Cluster: e.cluster})
	}
}
