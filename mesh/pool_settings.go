package mesh

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
)

// PoolSettings say how a cluster's connections and endpoints are used. None of them
// says what a connection is: they are not in the fingerprint, and change under a pool.
// The zero value has the defaults.
type PoolSettings struct {
	// ConnectTimeout defaults to 10 s (connectionPool.tcp.connectTimeout).
	ConnectTimeout time.Duration
	// KeepAlive is for connections that are opened from now on; nil: no probes are sent.
	KeepAlive *KeepAlive
	// Balance is how one of the endpoints is chosen.
	Balance Balance
	// Outlier is when an endpoint is left out for a time; nil: never.
	Outlier *Outlier
	// Limits bound the pool.
	Limits Limits
	// HTTPIdle is how long an HTTP connection is kept without a request
	// (connectionPool.http.idleTimeout, else tcp.idleTimeout), TCPIdle how long an opaque
	// one without a byte (tcp.idleTimeout). 0 is the default, an hour; negative: for ever.
	HTTPIdle, TCPIdle time.Duration
	// MaxAge is how long a connection lives, 0: as long as it is wanted
	// (tcp.maxConnectionDuration). One with requests ends after those under way.
	MaxAge time.Duration
	// Ping is how often an HTTP/2 server is asked whether it is there, 0: never, and
	// PingTimeout how long its answer may take before the connection ends
	// (http.http2KeepAlive). They are for connections that are opened from now on.
	Ping, PingTimeout time.Duration
}

// compileIdle reads a time after which what is idle ends; 0s is never, as in Envoy.
func compileIdle(d *durationpb.Duration) time.Duration {
	if d != nil && d.AsDuration() == 0 {
		return -1
	}
	return d.AsDuration()
}

// compilePool also says whether endpoints are left out altogether (PASSTHROUGH).
func compilePool(traffic *networking.TrafficPolicy) (s PoolSettings, passthrough bool) {
	tcp := traffic.GetConnectionPool().GetTcp()
	s.ConnectTimeout = defaultConnectTimeout
	if timeout := tcp.GetConnectTimeout(); timeout != nil {
		s.ConnectTimeout = timeout.AsDuration()
	}
	s.KeepAlive = compileKeepAlive(tcp.GetTcpKeepalive())
	s.Balance, passthrough = compileBalance(traffic.GetLoadBalancer())
	s.Outlier = compileOutlier(traffic.GetOutlierDetection())
	s.TCPIdle = compileIdle(tcp.GetIdleTimeout())
	s.HTTPIdle = s.TCPIdle
	if d := traffic.GetConnectionPool().GetHttp().GetIdleTimeout(); d != nil {
		s.HTTPIdle = compileIdle(d)
	}
	s.MaxAge = tcp.GetMaxConnectionDuration().AsDuration()
	ping := traffic.GetConnectionPool().GetHttp().GetHttp2KeepAlive()
	s.Ping, s.PingTimeout = ping.GetInterval().AsDuration(), ping.GetTimeout().AsDuration()
	s.Limits = compileLimits(traffic.GetConnectionPool())
	return s, passthrough
}
