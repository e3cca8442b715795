package admin

import (
	"net/netip"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// Known is what is known beside the configuration: a *proxy.Server, or Files.
type Known interface {
	Endpoints(*mesh.Cluster) []proxy.EndpointStatus
	Owners(dst netip.Addr) *proxy.Owners
	// Addresses are those that a name has, as far as that is known.
	Addresses(name string) []netip.Addr
	// Manner is how connections to an address are treated besides the configuration.
	Manner(dst netip.AddrPort) proxy.Manner
}

// Files know what is written in them, and of names what Look finds.
type Files struct {
	// Look says what is known of a name; nil: nothing is.
	Look func(name string) (dns.Known, bool)
}

func (f Files) known(name string) (dns.Known, bool) {
	if f.Look == nil || strings.HasPrefix(name, "*") {
		return dns.Known{}, false
	}
	return f.Look(name)
}

// Endpoints implements Known.
func (f Files) Endpoints(c *mesh.Cluster) []proxy.EndpointStatus {
	return proxy.EndpointsOf(c, f.known)
}

// Owners implements Known.
func (f Files) Owners(dst netip.Addr) *proxy.Owners { return proxy.OwnersOf(dst, f.known) }

// Addresses implements Known.
func (f Files) Addresses(name string) []netip.Addr {
	known, _ := f.known(name)
	return known.Addrs
}

// Manner implements Known: a proxy's flags are not known.
func (Files) Manner(netip.AddrPort) proxy.Manner { return proxy.Manner{} }
