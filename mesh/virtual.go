package mesh

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/vip"
)

// noAutoAddress is the label by which a ServiceEntry refuses a virtual address
// (Istio's).
const noAutoAddress = "networking.istio.io/enable-autoallocate-ip"

// wantsVirtual says whether the service's hosts are to be told apart by virtual
// addresses: not those that have addresses, nor wildcards, nor, as in Istio,
// resolution NONE, which goes where the application was told to go, nor Services of
// Kubernetes. A service with a UDP port would lose it: the proxy carries none.
func (s *service) wantsVirtual() bool {
	return s.resource.Kind != KubernetesService && len(s.addresses) == 0 && s.resolution != ResolveNone && len(s.ports) > 0 && !s.udp &&
		!strings.EqualFold(s.resource.Labels[noAutoAddress], "false")
}

// wish is a host that wants virtual addresses, in a namespace that registers it.
type wish struct{ host, namespace string }

// wanted lists the hosts that want virtual addresses in order, each once.
func (x *Index) wanted() []vip.Wanted {
	wishes := slices.SortedFunc(maps.Keys(x.wanting), func(a, b wish) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.namespace, b.namespace))
	})
	namespaces := make([]string, len(wishes))
	var out []vip.Wanted
	for i, w := range wishes {
		namespaces[i] = w.namespace
		if n := len(out); n > 0 && out[n-1].Host == w.host {
			of := &out[n-1].Namespaces
			*of = (*of)[:len(*of)+1]
			continue
		}
		out = append(out, vip.Wanted{Host: w.host, Namespaces: namespaces[i : i+1]})
	}
	return out
}

// assignVirtual asks for the virtual addresses of all hosts that want some, when others
// do than before, or others' namespaces, or they may have others, and says whether a host has.
func (x *Index) assignVirtual(c *change, s *Snapshot, always bool) (moved bool) {
	if x.opts.Virtual == nil {
		return false
	}
	others := false
	for w, n := range c.wanting {
		before := x.wanting[w]
		others = others || (before > 0) != (before+n > 0)
		if before+n > 0 {
			x.wanting[w] = before + n
		} else {
			delete(x.wanting, w)
		}
	}
	if !others && !always {
		return false
	}
	assigned := x.opts.Virtual(x.wanted())
	byHost, byAddress := s.virtual.edit(), s.byVirtual.edit()
	set := func(host string, addresses []netip.Addr) {
		for _, a := range byHost.at(host) {
			if byAddress.at(a) == host {
				byAddress.delete(a)
			}
		}
		byHost.delete(host)
		if len(addresses) > 0 {
			byHost.set(host, addresses)
		}
		c.touched.addresses, moved = true, true
		c.touched.name(host)
	}
	for host := range s.virtual.all() {
		if len(assigned[host]) == 0 {
			set(host, nil)
		}
	}
	var given []string
	for host, addresses := range assigned {
		if !slices.Equal(byHost.at(host), addresses) {
			set(host, addresses)
			given = append(given, host)
		}
	}
	for _, host := range given { // after all that was taken away
		for _, a := range assigned[host] {
			byAddress.set(a, host)
		}
	}
	s.virtual, s.byVirtual = byHost.table, byAddress.table
	return moved
}

// virtualOf gives a host's virtual addresses in this view. A host that some visible
// service gives addresses to has none: it is answered with those.
func (v *View) virtualOf(entry *registered) []netip.Addr {
	if v.snapshot.virtual.count == 0 || !slices.ContainsFunc(entry.services, (*service).wantsVirtual) ||
		slices.ContainsFunc(entry.services, func(s *service) bool { return len(s.addresses) > 0 }) {
		return nil
	}
	return v.snapshot.virtual.at(entry.host)
}
