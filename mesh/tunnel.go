package mesh

import (
	"net/netip"
	"strconv"

	networking "istio.io/api/networking/v1alpha3"
)

// Tunnel is DestinationRule trafficPolicy.tunnel: a cluster's server is a proxy, which is
// asked over HTTP for a connection to Target before any byte of an opaque connection.
type Tunnel struct {
	Post   bool   // HTTP POST in place of CONNECT
	Target string // host:port, an IPv6 address in brackets
}

// Request is what the proxy is asked, in a few words.
func (t *Tunnel) Request() string {
	if t.Post {
		return "POST for " + t.Target
	}
	return "CONNECT " + t.Target
}

// tunnelOf is a cluster's. Istio gives a subset its own only, and does not look for one
// among port-level settings, which cannot have any.
func tunnelOf(key clusterKey) *Tunnel {
	switch {
	case key.subset != nil:
		return compileTunnel(key.subset.traffic)
	case key.rule != nil:
		return compileTunnel(key.rule.traffic)
	}
	return nil
}

func compileTunnel(traffic *networking.TrafficPolicy) *Tunnel {
	t := traffic.GetTunnel()
	if t == nil {
		return nil
	}
	out := &Tunnel{Post: t.Protocol == "POST"}
	if addr, err := netip.ParseAddr(t.TargetHost); err == nil {
		out.Target = netip.AddrPortFrom(addr, uint16(t.TargetPort)).String()
	} else {
		out.Target = canonicalHost(t.TargetHost) + ":" + strconv.Itoa(int(t.TargetPort))
	}
	return out
}
