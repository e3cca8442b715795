package mesh

import "net/netip"

// Name is what a view knows about a name that an application may look up.
type Name struct {
	// Host is the name as registered: itself, or the wildcard it is under.
	Host string
	// Addresses are what to answer with: the single addresses among the entries'
	// own, else the virtual ones. None: whatever DNS says.
	Addresses []netip.Addr
	// Virtual says that they are virtual.
	Virtual bool
}

// Name finds a name, in lower case and without trailing dot: exactly, else by the
// longest wildcard. nil means that nothing visible registers it. A host that only a
// VirtualService has is registered too: it may be asked for.
func (v *View) Name(name string) *Name {
	if len(name) > maxHostLength {
		return nil
	}
	n, _ := v.names.find(name)
	return n
}

// HostAt finds the host that has a virtual address, "" for none.
func (v *View) HostAt(a netip.Addr) string { return v.byVirtual[a.Unmap()] }

func (b *viewBuilder) addNames(v *View) {
	v.names = make(hostIndex[*Name], len(b.visible.order))
	v.byVirtual = make(map[netip.Addr]string)
	for _, entry := range b.visible.order {
		n := &Name{Host: entry.host, Addresses: ownAddresses(entry)}
		if len(n.Addresses) == 0 {
			n.Addresses = b.virtualOf(entry.host)
			n.Virtual = len(n.Addresses) > 0
		}
		v.names[entry.host] = n
		if n.Virtual {
			for _, a := range n.Addresses {
				v.byVirtual[a] = entry.host
			}
		}
	}
	for _, virtual := range b.virtuals {
		for _, written := range virtual.hosts {
			host, _ := b.visible.resolve(written, virtual.namespace)
			if v.names[host] == nil {
				v.names[host] = &Name{Host: host}
			}
		}
	}
}

// ownAddresses are the single addresses that services give a host. A range says
// where the host may be, not where it is.
func ownAddresses(entry *registered) []netip.Addr {
	var out []netip.Addr
	seen := make(map[netip.Addr]bool)
	for _, s := range entry.services {
		for _, prefix := range s.addresses {
			if a := prefix.Addr(); prefix.IsSingleIP() && !isWildcard(entry.host) && !seen[a] {
				seen[a] = true
				out = append(out, a)
			}
		}
	}
	return out
}
