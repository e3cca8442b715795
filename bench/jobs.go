package main

import "fmt"

// A job is a row of the table: something measured of each contestant.
type job struct {
	name, title, unit string
	scene             scene
	now, goal         bar
	measure           func(options, *stage) (float64, error)
}

// A bar is how large a figure may be: a ratio to HAProxy's, or a size of its own.
type bar struct {
	ratio, absolute float64
	zero            bool // nothing at all
}

func ratio(r float64) bar { return bar{ratio: r} }

func (b bar) String() string {
	switch {
	case b.zero:
		return "0"
	case b.ratio > 0:
		return fmt.Sprintf("≤ %.2g ×", b.ratio)
	case b.absolute > 0:
		return fmt.Sprintf("≤ %g", b.absolute)
	}
	return "measured"
}

func jobs() []job {
	all := []job{}
	for _, n := range []int{2, 32, 256} {
		all = append(all, job{fmt.Sprintf("http-cpu-%d", n), fmt.Sprintf("HTTP/1.1 keep-alive, %d connections", n), "µs/request",
			httpScene, ratio(1.3), ratio(1), cpuPerRequest(n)})
	}
	all = append(all,
		job{"http-p99", "added p99, half of HAProxy's saturation", "µs", httpScene, ratio(1.5), ratio(1), addedP99},
		job{"http-idle", "memory of an idle HTTP connection", "KB", httpScene, bar{absolute: 12}, ratio(1), idleMemory},
	)
	for _, n := range []int{2, 32, 256} {
		all = append(all, job{fmt.Sprintf("tls-origin-%d", n), fmt.Sprintf("TLS origination, %d connections", n), "µs/request",
			originationScene, ratio(1.1), ratio(0.9), cpuPerRequest(n)})
	}
	return append(all,
		job{"tcp-bytes", "TCP passthrough, bytes", "ms/GB", tcpScene, ratio(1.2), ratio(1), cpuPerGB},
		job{"tcp-connections", "TCP passthrough, connections", "µs/conn", tcpScene, ratio(1.2), ratio(1), cpuPerConnection},
		job{"tcp-idle", "memory of an idle TCP connection", "KB", tcpScene, bar{absolute: 8}, ratio(1), idleMemory},
		job{"tls-bytes", "TLS passthrough, bytes", "ms/GB", tlsScene, ratio(1.2), ratio(1), cpuPerGB},
		job{"tls-connections", "TLS passthrough, connections", "µs/conn", tlsScene, ratio(1.2), ratio(1), cpuPerConnection},
		job{"tls-idle", "memory of an idle TLS passthrough connection", "KB", tlsScene, bar{absolute: 8}, ratio(1), idleMemory},
		job{"h2", "HTTP/2 to HTTP/2 over TLS", "µs/request", h2Scene, bar{}, ratio(1.5), h2PerRequest},
	)
}
