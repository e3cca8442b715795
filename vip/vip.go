// Package vip gives names virtual addresses: addresses that nobody has, which the
// DNS proxy answers with and the rules bring to the proxy, so that a connection
// says by its destination which name it is for. It is pure: it reads no clock and
// keeps no state of its own.
package vip

import "net/netip"

// The ranges that virtual addresses come from, Istio's own: a part of class E
// (RFC 1112 §4, reserved) and the benchmarking block (RFC 5180). No network uses
// either, so nothing real is hidden behind them.
var (
	Range4 = netip.MustParsePrefix("240.240.0.0/16")
	Range6 = netip.MustParsePrefix("2001:2::/48")
)

// Contains reports whether an address is a virtual one, whoever has it.
func Contains(a netip.Addr) bool {
	a = a.Unmap()
	return Range4.Contains(a) || Range6.Contains(a)
}

// Slot is a pair of addresses with one number in both ranges: slot 0x0304 is
// 240.240.3.4 and 2001:2::304.
type Slot uint16

// IPv4 is the slot's address in Range4.
func (s Slot) IPv4() netip.Addr {
	b := Range4.Addr().As4()
	b[2], b[3] = byte(s>>8), byte(s)
	return netip.AddrFrom4(b)
}

// IPv6 is the slot's address in Range6.
func (s Slot) IPv6() netip.Addr {
	b := Range6.Addr().As16()
	b[14], b[15] = byte(s>>8), byte(s)
	return netip.AddrFrom16(b)
}

// SlotOf finds the slot that an address belongs to.
func SlotOf(a netip.Addr) (Slot, bool) {
	b := a.Unmap().AsSlice()
	if !Contains(a) {
		return 0, false
	}
	s := Slot(b[len(b)-2])<<8 | Slot(b[len(b)-1])
	return s, s.usable() && (s.IPv4() == a.Unmap() || s.IPv6() == a)
}

// usable leaves out what ends in 0 or 255: programs exist that take such an IPv4
// address for a network's own or its broadcast address.
func (s Slot) usable() bool { return byte(s) != 0 && byte(s) != 255 }

// Slots is how many there are.
const Slots = 256 * 254

// slotAt numbers the usable slots from 0.
func slotAt(n uint64) Slot {
	n %= Slots
	return Slot(n/254)<<8 | Slot(n%254+1)
}
