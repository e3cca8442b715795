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
	var under [maxHostLength + 1]byte // as in MatchHTTP
	end := 1 + copy(under[1:], name)
	if n := v.nameOf(under[1:end]); n != nil {
		return n
	}
	if v.snapshot.wildcards == 0 {
		return nil
	}
	for i := 1; i < len(name); i++ {
		if name[i] != '.' {
			continue
		}
		under[i] = '*'
		if n := v.nameOf(under[i:end]); n != nil {
			return n
		}
	}
	return v.nameOf([]byte{'*'})
}

// nameOf finds what is known about a host by that very name.
func (v *View) nameOf(name []byte) *Name {
	if d, derived := memoBytes(&v.names, v, name); derived {
		return d.value
	}
	named := v.snapshot.names(name)
	if !named && !v.snapshot.zone.mayQualify(name) {
		return nil
	}
	host, d := string(name), &derivation{View: v}
	n := d.deriveName(host)
	if n == nil && !named {
		return nil
	}
	return v.names.put(v, host, derive(d, n)).value
}

func (d *derivation) deriveName(host string) *Name {
	d.note(host)
	if entry := d.visible(host); entry != nil {
		n := &Name{Host: host, Addresses: ownAddresses(entry)}
		if len(n.Addresses) == 0 {
			n.Addresses = d.virtualOf(entry)
			n.Virtual = len(n.Addresses) > 0
		}
		return n
	}
	if len(d.virtualServices(host, func(r *virtualService, _ string) bool { return d.uses(r) })) > 0 {
		return &Name{Host: host}
	}
	return nil
}

// HostAt finds the host that has a virtual address, "" for none.
func (v *View) HostAt(a netip.Addr) string {
	host := v.snapshot.byVirtual.at(a.Unmap())
	if host == "" {
		return ""
	}
	if n := v.nameOf([]byte(host)); n != nil && n.Virtual {
		return host
	}
	return ""
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
