package mesh

import networking "istio.io/api/networking/v1alpha3"

// Limits bound a cluster's connection pool (DestinationRule connectionPool). They hold
// for a workload's proxy, for all its event loops together. 0 is none, the default.
type Limits struct {
	// Connections that are open or being made, of HTTP and opaque (tcp.maxConnections).
	// An address without any may have one beyond it, as in Envoy, unless it is opaque.
	Connections uint32
	// Pending requests wait for a connection (http.http1MaxPendingRequests), of either
	// version of HTTP.
	Pending uint32
	// Requests are under way (http.http2MaxRequests), of either version.
	Requests uint32
	// Retries are under way (http.maxRetries).
	Retries uint32
	// PerConnection is how many requests a connection carries in its life
	// (http.maxRequestsPerConnection); 1 is without keep-alive.
	PerConnection uint32
	// Streams of an HTTP/2 connection at a time (http.maxConcurrentStreams).
	Streams uint32
}

// Wait says that requests may have to wait, or to be counted with those of all event
// loops.
func (l *Limits) Wait() bool { return l.Connections|l.Pending|l.Requests != 0 }

func compileLimits(pool *networking.ConnectionPoolSettings) Limits {
	tcp, http := pool.GetTcp(), pool.GetHttp()
	limit := func(n int32) uint32 { return uint32(max(n, 0)) }
	return Limits{
		Connections:   limit(tcp.GetMaxConnections()),
		Pending:       limit(http.GetHttp1MaxPendingRequests()),
		Requests:      limit(http.GetHttp2MaxRequests()),
		Retries:       limit(http.GetMaxRetries()),
		PerConnection: limit(http.GetMaxRequestsPerConnection()),
		Streams:       limit(http.GetMaxConcurrentStreams()),
	}
}
