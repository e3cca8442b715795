package mesh

import (
	"time"

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
	s.Limits = compileLimits(traffic.GetConnectionPool())
	return s, passthrough
}
