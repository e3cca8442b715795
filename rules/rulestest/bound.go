package rulestest

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/vishvananda/netlink"
)

// BoundSockets judges what a backend does when a socket is bound to an interface: the
// redirect's new destination, a loopback address, would leave by that.
func BoundSockets(t *testing.T, apply Apply) {
	labtest.NeedsOtherUsers(t)
	p := NewPair(t)
	var place escape.Place
	must(t, p.Pod.Do(func() (err error) { place, err = escape.Here("eth0"); return err }))
	place.To4, place.To6 = netip.MustParseAddr("10.50.0.1"), netip.MustParseAddr("fd50::1")
	place.Excluded = 9999
	var cable *escape.Wire
	must(t, p.Server.Do(func() error {
		far, err := net.InterfaceByName("eth0")
		if err == nil {
			place.NextHop = far.HardwareAddr
			cable, err = escape.Watch(far.Index, place.Excluded)
		}
		return err
	}))
	defer cable.Close()
	for _, to := range []netip.Addr{place.To4, place.To6} { // so that nothing waits for them to be resolved
		must(t, p.Pod.Do(func() error {
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: place.Link, IP: to.AsSlice(), HardwareAddr: place.NextHop, State: netlink.NUD_PERMANENT})
		}))
	}
	c := rules.Default()
	c.DNSCapture, c.ExcludeOutboundPorts = true, rules.Ports{{First: place.Excluded, Last: place.Excluded}}
	plan, err := rules.NewPlan(c)
	must(t, err)
	number, tried := uint16(0), 0
	arrives := func(a escape.Attempt) int {
		number++
		must(t, errors.Join(p.Pod.Do(func() error { a.Send(); return nil }),
			p.Pod.Do(func() error { return escape.Sentinel(place.To4, place.Excluded, number) })))
		seen, err := cable.Until(number)
		must(t, err)
		return len(seen)
	}
	bound := func(a escape.Attempt) bool { return strings.HasPrefix(a.Name, "SO_BINDTODEVICE") }
	for _, captured := range []bool{false, true} {
		if captured {
			must(t, apply(p.Pod.FD(), plan))
		}
		for _, a := range place.Attempts() {
			if !bound(a) {
				continue
			}
			tried++
			if n := arrives(a); n > 0 == captured {
				t.Errorf("%s, captured %t: %d packets arrive", a.Name, captured, n)
			}
		}
	}
	if tried == 0 {
		t.Error("nothing was tried")
	}
}
