package pods_test

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// A pod that had connections before its rules keeps them, and yet nothing that it makes
// up passes for one: with CAP_NET_RAW, a default of containers, it could begin with an
// ACK what is a connection soon, if the server helps.
func TestNothingMadeUpLeavesAPodThatWasRunning(t *testing.T) {
	const excluded = 9999
	s := newStage(t)
	_, err := s.config.Set("excludeOutboundPorts", "9999")
	must(t, err)
	living := s.echo()
	must(t, living())
	var place escape.Place
	var cable *escape.Wire
	must(t, s.pod.Do(func() (err error) { place, err = escape.Here("eth0"); return err }))
	must(t, s.outside.Do(func() error {
		far, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		place.NextHop = far.HardwareAddr
		// Nobody answers there: an answer would have the pod send more.
		if err := netlink.RouteAdd(&netlink.Route{Type: unix.RTN_BLACKHOLE, Dst: &net.IPNet{IP: net.IPv4(203, 0, 113, 66), Mask: net.CIDRMask(32, 32)}}); err != nil {
			return err
		}
		cable, err = escape.Watch(far.Index, excluded)
		return err
	}))
	defer cable.Close()
	place.To4, place.Nobody4, place.To6, place.From6, place.Excluded = netip.MustParseAddr("203.0.113.66"), netip.MustParseAddr("203.0.113.67"), netip.Addr{}, netip.Addr{}, excluded
	must(t, s.pod.Do(func() error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: place.Link, IP: net.IPv4(10, 9, 0, 1), HardwareAddr: place.NextHop, State: netlink.NUD_PERMANENT})
	}))
	raw, err := connect(s.pod, rawTCP, place.To4.String())
	must(t, err)
	defer raw.Close()
	number := uint16(0)
	left := func(flags byte) int {
		number++
		raw.Write(escape.TCP(flags)) // may be refused at once
		must(t, s.pod.Do(func() error { return escape.Sentinel(place.To4, excluded, number) }))
		seen, err := cable.Until(number)
		must(t, err)
		seen = slices.DeleteFunc(seen, func(frame []byte) bool { return !bytes.Contains(frame, place.To4.AsSlice()) })
		return len(seen) // without what the agent sends meanwhile, to others
	}
	all := []byte{escape.ACK, escape.FIN, escape.RST, escape.SYN, escape.SYN | escape.FIN, 0}
	for _, flags := range all {
		if left(flags) == 0 {
			t.Errorf("flags %#x: nothing arrived without rules: the attempt is none", flags)
		}
	}
	files := s.enrol()
	for _, flags := range all {
		if n := left(flags); n > 0 {
			t.Errorf("flags %#x: %d packets left the pod", flags, n)
		}
	}
	must(t, living())
	s.governed()
	// And again, from disabled rules.
	s.do(core.Disable{Target: s.target(files)})
	s.do(core.Apply{Target: s.target(files), Decision: s.decision(), Running: true, Agents: own})
	if n := left(escape.ACK); n > 0 {
		t.Errorf("%d packets left the pod that was captured again", n)
	}
	must(t, living())
}

// A connection whose first packet was dropped by the second layer goes on by the proxy when
// the rules are in order again: it is not taken for one that went out before there were any.
func TestAConnectionThatWasHeldGoesOnByTheProxy(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	rulestest.Tamper(t, s.pod, rulestest.DeleteRule("output_nat", "included IPv4 range"))
	made := make(chan error, 1)
	go func() {
		c, err := connect(s.pod, "tcp4", server+":7")
		if err == nil {
			c.Close()
		}
		made <- err
	}()
	await.True(t, "a first packet to be dropped", func() (waits bool) {
		must(t, s.pod.Do(func() error {
			all, err := netlink.SocketDiagTCP(unix.AF_INET)
			waits = slices.ContainsFunc(all, func(s *netlink.Socket) bool { return s.State == netlink.TCP_SYN_SENT })
			return err
		}))
		return waits
	})
	s.do(core.Apply{Target: s.target(files), Decision: s.decision(), Running: true, Agents: own})
	must(t, <-made)
}

// Nobody is exempt here, or this process would be.
func TestNoConnectionIsRefusedAsARunningPodIsCaptured(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	for range 3 {
		s.do(core.Disable{Target: s.target(files)})
		rulestest.Connecting(t, s.pod, []string{server + ":7", server + ":7"}, func() {
			s.do(core.Apply{Target: s.target(files), Decision: s.decision(), Running: true})
		})
	}
}
