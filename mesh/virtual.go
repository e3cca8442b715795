package mesh

import (
	"net/netip"
	"slices"
	"strings"
)

// noAutoAddress is the label by which a ServiceEntry refuses a virtual address
// (Istio's).
const noAutoAddress = "networking.istio.io/enable-autoallocate-ip"

// wantsVirtual says whether the service's hosts are to be told apart by virtual
// addresses: not those that have addresses, nor wildcards, nor, as in Istio,
// resolution NONE, which goes where the application was told to go. A service with
// a UDP port would lose it: the proxy carries none.
func (s *service) wantsVirtual() bool {
	return len(s.addresses) == 0 && s.resolution != ResolveNone && len(s.ports) > 0 && !s.udp &&
		!strings.EqualFold(s.resource.Labels[noAutoAddress], "false")
}

// assignVirtual asks for the virtual addresses of all hosts that want some.
func (s *Snapshot) assignVirtual(assign func([]string) map[string][]netip.Addr) {
	if assign == nil {
		return
	}
	var hosts []string
	for _, service := range s.services {
		if !service.wantsVirtual() {
			continue
		}
		for _, host := range service.hosts {
			if !isWildcard(host) {
				hosts = append(hosts, host)
			}
		}
	}
	slices.Sort(hosts)
	s.virtual = assign(slices.Compact(hosts))
}

// virtualOf gives a host's virtual addresses in this view. A host that some visible
// service gives addresses to has none: it is answered with those.
func (b *viewBuilder) virtualOf(host string) []netip.Addr {
	entry := b.visible.hosts[host]
	if entry == nil || len(b.snapshot.virtual) == 0 || !slices.ContainsFunc(entry.services, (*service).wantsVirtual) ||
		slices.ContainsFunc(entry.services, func(s *service) bool { return len(s.addresses) > 0 }) {
		return nil
	}
	return b.snapshot.virtual[host]
}

// addressesOf are the addresses that say by themselves that a connection is for a
// host: its service's, else the virtual ones.
func (b *viewBuilder) addressesOf(h hostOnPort) []netip.Prefix {
	if len(h.service.addresses) > 0 || len(b.snapshot.virtual) == 0 {
		return h.service.addresses
	}
	var out []netip.Prefix
	for _, a := range b.virtualOf(h.host) {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}
