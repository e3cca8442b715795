package proxy

import (
	"context"
	"net"
)

// Listen listens for TCP that rules redirect, and nothing above it: a redirect brings
// no Multipath TCP, which is Go's default, and keep-alive probes are off, as Envoy's
// are. network is tcp, tcp4 or tcp6.
func Listen(network, address string) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}
