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
