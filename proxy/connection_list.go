package proxy

import (
	"net/netip"
	"time"
)

// seen is how far a connection has been looked at. It is stored after the connection's
// destination, which whoever has loaded it may read.
type seen uint32

const (
	seenNothing seen = iota
	seenDestination
	seenHTTP1
	seenHTTP2
	seenTLS
	seenTCP
)

// seenNames are the words of ConnectionStatus.Protocol.
var seenNames = [...]string{seenDestination: "waiting", seenHTTP1: "http/1.1", seenHTTP2: "http/2", seenTLS: "tls", seenTCP: "tcp"}

// ConnectionStatus is an application's connection as it is now.
type ConnectionStatus struct {
	Source, Destination netip.AddrPort
	// Protocol is http/1.1, http/2, tls, tcp, or waiting while too little of it has come.
	Protocol string
	// Cluster is where it goes; of HTTP, where its last request went. "" is nowhere yet.
	Cluster string
	// ServerName is what a TLS client asked for: whatever it wrote, if it was let through.
	ServerName string
	// Upstream is the other end of opaque bytes, zero for HTTP: each request may have
	// another.
	Upstream netip.AddrPort
	// Since is when it was seen what opaque bytes it carries; zero for HTTP.
	Since time.Time
}

// Connections shows at most limit of the connections that are open, in no order, and
// says how many there are.
func (s *Server) Connections(limit int) (shown []ConnectionStatus, open int) {
	s.mu.Lock()
	open = len(s.conns)
	some := make([]*connection, 0, min(open, limit))
	for c := range s.conns {
		if len(some) == limit {
			break
		}
		some = append(some, c)
	}
	s.mu.Unlock()
	for _, c := range some {
		if status, ok := c.status(); ok {
			shown = append(shown, status)
		}
	}
	return shown, open
}

// status says false of a connection that has just been accepted.
func (c *connection) status() (ConnectionStatus, bool) {
	seen := seen(c.seen.Load())
	if seen == seenNothing {
		return ConnectionStatus{}, false
	}
	out := ConnectionStatus{Source: c.src, Destination: c.dst, Protocol: seenNames[seen]}
	if cluster := c.cluster.Load(); cluster != nil {
		out.Cluster = cluster.Name
	}
	if carried := c.carriage.Load(); carried != nil {
		e := carried.entry
		out.Cluster, out.ServerName, out.Upstream, out.Since = e.clusterName(), e.serverName, e.upstreamHost, e.start
		if seen == seenDestination { // no policy applies to it, so nobody has looked
			out.Protocol = e.protocol
		}
	}
	return out, true
}
