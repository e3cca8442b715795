package proxy

import (
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// Observer is told what the proxy does, as it happens and on the path of every
// request: Observe must not block, should not allocate, and is called by many
// goroutines at once. proxy/metrics counts for Prometheus.
type Observer interface {
	Observe(Event)
}

// EventKind says what happened, and so which fields of an Event mean something.
type EventKind uint8

const (
	// ConfigurationInForce: View is what is followed from now on, and Workload for whom.
	ConfigurationInForce EventKind = iota + 1
	// ConnectionAccepted and ConnectionEnded are about the application's side.
	ConnectionAccepted
	ConnectionEnded
	// RequestEnded is an HTTP request that was answered, by whomever, or broken
	// off: Cluster, GRPC, Status, Flags, Duration, Received, Sent, the messages.
	RequestEnded
	// TCPOpened is an opaque connection that is carried or refused: Cluster.
	TCPOpened
	// TCPClosed is its end: Cluster, Flags, Duration, Received, Sent.
	TCPClosed
	// Refused is what policy or a limit did not let through: Refusal.
	Refused
	// WouldRefuse is what the policy Observe lets through and REGISTRY_ONLY would not: Refusal.
	WouldRefuse
	// ConnectFailed is one attempt to reach an endpoint: Cluster, Failure.
	ConnectFailed
	// Retried is a try of a request beyond its first: Cluster.
	Retried
	// LogLinesLost are lines of the access log that were not written: Count.
	LogLinesLost
	// ConnectionsCut are those of the application that the end of a drain has reset: Count.
	ConnectionsCut
)

// Event is one thing that happened. Its strings are constants of this package,
// never what a client or server sent, so their number is bounded.
type Event struct {
	Kind EventKind
	View *mesh.View
	// Snapshot and Workload are as Follow had them; nobody may change them.
	Snapshot *mesh.Snapshot
	Workload *mesh.Workload
	// Cluster is where it was going. One without a Host stands for what is not
	// registered: BlackHoleCluster, PassthroughCluster, ungoverned. nil: none was
	// chosen.
	Cluster *mesh.Cluster

	GRPC       bool
	GRPCStatus int // meaningful where GRPC is set; -1 none came
	// Status is the HTTP status, 0 when the client left before there was one. An
	// upstream may have made it up: it is any number of three digits.
	Status   int
	Flags    string // Envoy's response flags, "" for none
	Duration time.Duration
	// Received came from the application and Sent went to it, in bytes: head and
	// body of HTTP, what TCP carried.
	Received, Sent int64
	// Messages of gRPC, from the application and to it.
	MessagesReceived, MessagesSent int64

	Refusal Refusal
	Failure ConnectFailure
	Count   int64
}

// ConnectFailure is why an endpoint was not reached.
type ConnectFailure string

// The failures.
const (
	ConnectRefused  ConnectFailure = "refused"         // or reset, or unreachable
	ConnectTimeout  ConnectFailure = "timeout"         // no connection in time, TLS included
	TLSCertificate  ConnectFailure = "tls_certificate" // its chain or its name
	TLSNotSpoken    ConnectFailure = "tls_not_spoken"  // the server answered something else
	TLSHandshake    ConnectFailure = "tls_handshake"   // any other failure of it
	ConnectCanceled ConnectFailure = "canceled"        // nobody waited any more
)

func (s *Server) observe(e Event) {
	if s.cfg.Observer != nil {
		s.cfg.Observer.Observe(e)
	}
}

// Clusters that are no service's, under Envoy's names where it has one.
var (
	blackHole   = &mesh.Cluster{Name: "BlackHoleCluster"}   // where refused connections go
	passthrough = &mesh.Cluster{Name: "PassthroughCluster"} // what nobody registered, where that passes
	ungoverned  = &mesh.Cluster{Name: "ungoverned"}         // what no policy applies to
)
