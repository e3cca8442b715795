// Package escape holds what a workload may try to reach a captured address past the
// proxy, with a container's default capabilities, CAP_NET_RAW among them. It sends and
// judges nothing: whoever runs it watches what comes out of the pod (Wire).
//
//	place, err := escape.Here("eth0")  // in the pod's namespace
//	place.To4, place.NextHop = captured, gateway
//	for _, a := range place.Attempts() { a.Send() }
package escape

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Place is where the attempts are made from, and where they are to lead.
type Place struct {
	Interface      string // by which everything is reached
	Link, Loopback int    // the index of that, and of lo
	MAC, NextHop   []byte // of Interface, and of whoever takes frames from it
	From4, From6   netip.Addr
	// To4 and To6 are captured. A family without an address is left out.
	To4, To6 netip.Addr
	// Nobody4 and Nobody6 are captured as well and belong to nobody.
	Nobody4, Nobody6 netip.Addr
	// Excluded is a port that is not captured.
	Excluded uint16
}

// Here is the place of an interface in this thread's namespace. Where attempts lead and
// who is the next hop is left to the caller.
func Here(name string) (Place, error) {
	p := Place{Interface: name}
	link, err := net.InterfaceByName(name)
	if err != nil {
		return p, fmt.Errorf("interface %q: %w", name, err)
	}
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		return p, fmt.Errorf("interface %q: %w", "lo", err)
	}
	p.Link, p.Loopback, p.MAC = link.Index, loopback.Index, link.HardwareAddr
	addresses, err := link.Addrs()
	if err != nil {
		return p, fmt.Errorf("interface %q: %w", name, err)
	}
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		switch addr := prefix.Addr(); {
		case err != nil || addr.IsLinkLocalUnicast():
		case addr.Is4():
			p.From4 = addr
		default:
			p.From6 = addr
		}
	}
	if !p.From4.IsValid() && !p.From6.IsValid() {
		return p, errors.New("interface " + name + ": has no address")
	}
	return p, nil
}

// Attempt is one way out. Whether its calls succeed does not matter, only what
// arrives. It may change what its thread is allowed to, so give it one of its own.
type Attempt struct {
	Name string
	Send func()
}

type overBoth func(name string, send func(to netip.Addr))

// Attempts are the ways out by name, each over both families where it has them.
func (p Place) Attempts() []Attempt {
	var out []Attempt
	both := func(name string, send func(to netip.Addr)) {
		if p.To4.IsValid() {
			out = append(out, Attempt{name + " over IPv4", func() { send(p.To4) }})
		}
		if p.To6.IsValid() {
			out = append(out, Attempt{name + " over IPv6", func() { send(p.To6) }})
		}
	}
	p.socketAttempts(both)
	p.rawAttempts(both)
	p.packetAttempts(both)
	if p.To4.IsValid() {
		out = append(out,
			Attempt{"an IPv4-mapped IPv6 address", func() { connectMapped(p.To4, 80) }},
			Attempt{"fragments that conntrack does not put together", p.rawFragments},
			Attempt{"a packet socket on lo where forwarding is on", p.byLoopback})
	}
	slices.SortFunc(out, func(a, b Attempt) int { return strings.Compare(a.Name, b.Name) })
	return out
}
