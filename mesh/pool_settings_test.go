package mesh

import (
	"reflect"
	"testing"
	"time"
)

func TestPoolSettingsAreReadWithTheirDefaults(t *testing.T) {
	t.Parallel()
	outlier := func(change func(*Outlier)) *Outlier {
		o := &Outlier{Consecutive5xx: 5, ConsecutiveLocal: 5, Interval: 10 * time.Second, Base: 30 * time.Second, MaxPercent: 10}
		change(o)
		return o
	}
	for policy, change := range map[string]func(*PoolSettings){
		"":                               func(*PoolSettings) {},
		"tls: {mode: DISABLE}":           func(*PoolSettings) {},
		"loadBalancer: {simple: RANDOM}": func(s *PoolSettings) { s.Balance = Random },
		"connectionPool: {tcp: {maxConnections: 3, connectTimeout: 2s, maxConnectionDuration: 1h}}": func(s *PoolSettings) {
			s.Limits.Connections, s.ConnectTimeout, s.MaxAge = 3, 2*time.Second, time.Hour
		},
		"connectionPool: {http: {http1MaxPendingRequests: 1, http2MaxRequests: 2, maxRequestsPerConnection: 3, maxRetries: 4, maxConcurrentStreams: 5}}": func(s *PoolSettings) {
			s.Limits = Limits{Pending: 1, Requests: 2, PerConnection: 3, Retries: 4, Streams: 5}
		},
		"connectionPool: {tcp: {idleTimeout: 2s}}":                              func(s *PoolSettings) { s.TCPIdle, s.HTTPIdle = 2*time.Second, 2*time.Second },
		"connectionPool: {tcp: {idleTimeout: 2s}, http: {idleTimeout: 3s}}":     func(s *PoolSettings) { s.TCPIdle, s.HTTPIdle = 2*time.Second, 3*time.Second },
		"connectionPool: {tcp: {idleTimeout: 0s}, http: {idleTimeout: 3s}}":     func(s *PoolSettings) { s.TCPIdle, s.HTTPIdle = -1, 3*time.Second },
		"connectionPool: {http: {idleTimeout: 0s}}":                             func(s *PoolSettings) { s.HTTPIdle = -1 },
		"connectionPool: {http: {http2KeepAlive: {interval: 5s, timeout: 2s}}}": func(s *PoolSettings) { s.Ping, s.PingTimeout = 5*time.Second, 2*time.Second },
		"outlierDetection: {}": func(s *PoolSettings) { s.Outlier = outlier(func(*Outlier) {}) },
		"outlierDetection: {consecutive5xxErrors: 0, maxEjectionPercent: 0}": func(s *PoolSettings) { s.Outlier = outlier(func(o *Outlier) { o.Consecutive5xx = 0 }) },
		"outlierDetection: {consecutive5xxErrors: 2, consecutiveGatewayErrors: 3, interval: 1s, baseEjectionTime: 2m, maxEjectionPercent: 60, minHealthPercent: 7}": func(s *PoolSettings) {
			s.Outlier = &Outlier{Consecutive5xx: 2, ConsecutiveGateway: 3, ConsecutiveLocal: 5, Interval: time.Second, Base: 2 * time.Minute, MaxPercent: 60, MinHealth: 7}
		},
		"outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 4, outlierDetectionHttpErrorCodes: [502, 429]}": func(s *PoolSettings) {
			s.Outlier = outlier(func(o *Outlier) { o.Split, o.ConsecutiveLocal, o.Codes = true, 4, []int{429, 502} })
		},
	} {
		documents := entry("a", "hosts: [x.com], "+onlyHTTP)
		if policy != "" {
			documents = join3(documents, "kind: DestinationRule\nmetadata: {name: r}\nspec: {host: x.com, trafficPolicy: {"+policy+"}}")
		}
		want := PoolSettings{ConnectTimeout: defaultConnectTimeout}
		change(&want)
		c := view(t, documents).Listener(80).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster
		if !reflect.DeepEqual(c.PoolSettings, want) {
			t.Errorf("%q:\n%+v, want\n%+v", policy, c.PoolSettings, want)
		}
		if c.Waits != (want.Limits.Connections+want.Limits.Pending+want.Limits.Requests > 0) {
			t.Errorf("%q: waits %v", policy, c.Waits)
		}
	}
}

func TestOnlyTheUsualPortsFollowTheVersionOfARule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version
		declared, want Protocol
	}{
		{asDeclared, HTTP, HTTP}, {asDeclared, HTTP2, HTTP2}, {asDeclared, Unset, Unset},
		{upgraded, HTTP, HTTP2}, {upgraded, HTTP2, HTTP2}, {upgraded, Unset, Unset}, {upgraded, TCP, TCP}, {upgraded, TLS, TLS},
		{asRequested, HTTP, Unset}, {asRequested, HTTP2, Unset}, {asRequested, TCP, TCP}, {asRequested, TLS, TLS},
	} {
		if got := c.version.on(c.declared); got != c.want {
			t.Errorf("%d on %d: %d, want %d", c.version, c.declared, got, c.want)
		}
	}
}
