// Package cidr parses, merges and subtracts IP ranges. It reads the comma lists
// people paste from cloud consoles and annotations, says what is wrong with every
// element at once, and never looks anything up.
//
//	list, warnings, err := cidr.Parse("10.0.0.1/24, 2001:db8::/32, 192.0.2.7")
//	// list: 10.0.0.0/24,2001:db8::/32,192.0.2.7/32
//	// warnings: element 1 "10.0.0.1/24": has host bits set; 10.0.0.1/24 means 10.0.0.0/24
package cidr

import (
	"net/netip"
	"strings"
)

// List is a set of IP ranges as an operator wrote it. The zero value is none.
// Treat it as immutable: copies share Prefixes.
type List struct {
	// All is "*": every IPv4 and every IPv6 address. Prefixes is empty then.
	All bool
	// Prefixes are masked, free of duplicates, and in the order written.
	Prefixes []netip.Prefix
}

// Everything is "*".
func Everything() List { return List{All: true} }

// Of makes a list of prefixes, masking host bits and dropping duplicates.
func Of(prefixes ...netip.Prefix) List {
	var c collector
	for _, p := range prefixes {
		c.add(p.Masked())
	}
	return List{Prefixes: c.prefixes}
}

// collector gathers masked prefixes in order, each once.
type collector struct {
	prefixes []netip.Prefix
	seen     map[netip.Prefix]bool
}

func (c *collector) add(p netip.Prefix) {
	if c.seen == nil {
		c.seen = map[netip.Prefix]bool{}
	}
	if !c.seen[p] {
		c.seen[p] = true
		c.prefixes = append(c.prefixes, p)
	}
}

// None reports whether the list holds no address.
func (l List) None() bool { return !l.All && len(l.Prefixes) == 0 }

// Contains reports whether a range of the list holds addr. An IPv4-mapped
// address is judged as the IPv4 address it stands for; a zone is ignored.
func (l List) Contains(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	if l.All {
		return true
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range l.Prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Families says which address families the list has ranges in.
func (l List) Families() (v4, v6 bool) {
	for _, p := range l.Prefixes {
		v4 = v4 || p.Addr().Is4()
		v6 = v6 || p.Addr().Is6()
	}
	return v4 || l.All, v6 || l.All
}

// Equal reports whether both lists hold the same addresses, however written.
func (l List) Equal(other List) bool { return l.IPSet().Equal(other.IPSet()) }

// String is the list as Parse reads it: "*", "" or ranges with commas between.
func (l List) String() string {
	if l.All {
		return "*"
	}
	parts := make([]string, len(l.Prefixes))
	for i, p := range l.Prefixes {
		parts[i] = p.String()
	}
	return strings.Join(parts, ",")
}
