package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/metrics"
)

// metricsPort is Istio's.
const metricsPort = 15090

// defaultMetrics is on loopback: who shares the pod may read it, its neighbours may not.
var defaultMetrics = fmt.Sprintf("127.0.0.1:%d", metricsPort)

const metricsFlag = "`ADDRESS` that /metrics, /healthz and /readyz are served on, or off; :15090 is every address of the pod, so its neighbours' too"

// listenMetrics opens the endpoint's socket, nil for none. The default address may
// be taken, by another proxy or by the application: egress goes on without then.
// One that somebody asked for must be free.
func listenMetrics(c *cobra.Command, text string, log *slog.Logger) (net.Listener, error) {
	if text == "off" || text == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", text)
	switch {
	case err == nil:
		log.Info("metrics", "address", l.Addr())
		return l, nil
	case errors.Is(err, unix.EADDRINUSE) && !c.Flags().Changed("metrics-listen"):
		log.Warn("no metrics: the address is in use; egress goes on without", "address", text, "hint", "name another with --metrics-listen, or off")
		return nil, nil
	}
	return nil, hinted(fmt.Errorf("--metrics-listen %q: %w", text, reason(err)), "--metrics-listen off serves none")
}

func checkMetricsAddress(text string) error {
	if text == "off" || text == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = parsePort(port)
	}
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil {
		return fmt.Errorf("--metrics-listen %q: not an address; use one such as %s or :15090, or off", text, defaultMetrics)
	}
	return nil
}

// ipv6Bracketed is an address as net.Listen has it: a chart that joins a host's address and a
// port with a colon gets IPv6 ones wrong.
func ipv6Bracketed(address string) string {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return address
	}
	if host, err := netip.ParseAddr(address[:i]); err == nil && host.Is6() {
		return net.JoinHostPort(address[:i], address[i+1:])
	}
	return address
}

// withMetrics serves the endpoint for as long as serve runs.
func withMetrics(l net.Listener, e metrics.Endpoint, serve func(context.Context) error) func(context.Context) error {
	if l == nil {
		return serve
	}
	return alongside("the metrics endpoint", e.Log, func(ctx context.Context) error { return e.Serve(ctx, l) }, serve)
}
