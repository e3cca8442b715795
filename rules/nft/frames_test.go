package nft_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// frameCase is something that a packet socket sends, or an ordinary one.
type frameCase struct {
	name    string
	arrives bool
	send    func(w *wire)
}

// Another's frames, that a bridge passes on, are judged by the rest of the rules.
const socketRule = "sent by a packet socket"

func withoutFrameRule(p rules.Plan, name string) rules.Plan {
	p.Frames.Rules = slices.DeleteFunc(slices.Clone(p.Frames.Rules), func(r rules.Rule) bool { return r.Name == name })
	return p
}

// Whoever has a packet socket can change a frame after it was judged, so nothing of
// IP may pass but what a DHCP client must send.
func TestAPacketSocketSendsNoIPWhereverItGoes(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	w := newWire(t, rulestest.NewPair(t))
	apply(t, w.Pod, rulestest.Plan(t, "includeIPRanges=10.50.0.1,fd50::1", "excludeIPRanges=10.96.0.0/12", "excludeOutboundPorts=9999"))
	dhcp := func(to string) func() {
		return func() {
			w.Frame(netip.MustParseAddr(to), escape.FrameOptions{}, unix.IPPROTO_UDP, escape.UDPFrom(68, 67))
		}
	}
	for name, send := range map[string]func(){
		"TCP elsewhere": func() {
			w.Frame(netip.MustParseAddr("192.0.2.1"), escape.FrameOptions{}, unix.IPPROTO_TCP, escape.TCP(escape.SYN))
		},
		"IPv6 elsewhere": func() {
			w.Frame(netip.MustParseAddr("2001:db8::1"), escape.FrameOptions{}, unix.IPPROTO_TCP, escape.TCP(escape.SYN))
		},
		"DHCP to one server": dhcp("10.50.0.1"),
		"a tag that is not there, so that the ports are read as an excluded address": func() {
			w.Frame(w.To4, escape.FrameOptions{Claims: unix.ETH_P_8021Q}, unix.IPPROTO_UDP, escape.UDPFrom(10<<8|96, 443))
		},
		"a checksum over the destination": w.checksumOverDestination,
	} {
		if seen := w.watchRoot(t, send); len(seen) > 0 {
			t.Errorf("%s: arrives, %x", name, seen[0])
		}
	}
	if seen := w.watchRoot(t, dhcp("255.255.255.255")); len(seen) == 0 {
		t.Error("a DHCP client's broadcast does not arrive")
	}
}

// checksumOverDestination sends to 192.0.0.1 what the kernel, told that a checksum
// belongs where the destination is, makes something else of.
func (w *wire) checksumOverDestination() {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)
	const needsChecksum, start, offset = 1, 20, 10
	header := []byte{needsChecksum, 0, 0, 0, 0, 0, start, 0, offset, 0}
	packet := escape.IP4(unix.IPPROTO_UDP, w.From4, netip.MustParseAddr("192.0.0.1"), escape.UDP(443))
	frame := escape.Ether(w.NextHop, w.MAC, unix.ETH_P_IP, packet)
	unix.Sendto(fd, append(header, frame...), 0, &unix.SockaddrLinklayer{Ifindex: w.Link, Protocol: swap(unix.ETH_P_IP), Halen: 6})
}

// A virtual machine in the pod, bridged to its interface, is no packet socket.
func TestWhatABridgePassesOnIsJudgedByDestination(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := rulestest.NewPair(t)
	w := newWire(t, p)
	machine := labtest.New(t)
	must(t, lab.Connect(lab.End{In: machine, Name: "eth0"}, lab.End{In: p.Pod, Name: "vm0"}))
	must(t, p.Pod.Do(func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		for _, name := range []string{"eth0", "vm0", "br0"} {
			port, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if name != "br0" {
				err = netlink.LinkSetMaster(port, bridge)
			}
			if err = errors.Join(err, netlink.LinkSetUp(port)); err != nil {
				return err
			}
		}
		return nil
	}))
	eth0 := linkIndex(t, machine, "eth0")
	apply(t, p.Pod, rulestest.Plan(t, "includeIPRanges=10.50.0.1,fd50::1"))
	var frames [][]byte
	for i, to := range []string{"10.50.0.1", "fd50::1", "192.0.2.1", "2001:db8::1"} {
		a := netip.MustParseAddr(to)
		kind, packet := uint16(unix.ETH_P_IPV6), escape.IP6(unix.IPPROTO_TCP, w.From6, a, escape.TCPTo(uint16(7000+i), escape.SYN))
		if a.Is4() {
			kind, packet = unix.ETH_P_IP, escape.IP4(unix.IPPROTO_TCP, w.From4, a, escape.TCPTo(uint16(7000+i), escape.SYN))
		}
		frames = append(frames, escape.Ether(w.NextHop, []byte{2, 0, 0, 0, 0, 9}, kind, packet))
	}
	must(t, machine.Do(func() error {
		for _, f := range frames {
			escape.SendFrame(eth0, escape.FrameOptions{Claims: binary.BigEndian.Uint16(f[12:])}, f)
		}
		return nil
	}))
	for {
		frame, err := w.cable.Next()
		if err != nil {
			t.Fatalf("what goes elsewhere does not arrive: %v", err)
		}
		switch i := slices.IndexFunc(frames, func(f []byte) bool { return bytes.Equal(f, frame) }); i {
		case 0, 1:
			t.Errorf("frame %d, to a captured address, arrived", i)
		case 3: // the last
			return
		}
	}
}

func packetTo(name string, arrives bool, to string, protocol byte, payload []byte) frameCase {
	return frameCase{name, arrives, func(w *wire) { w.Frame(netip.MustParseAddr(to), escape.FrameOptions{}, protocol, payload) }}
}

// Frames that are passed on follow the same list as everything else, and each rule is
// needed: without it one of the cases ends otherwise. They come from a packet socket
// here, whose own two rules are left out for that (TestAPacketSocketSendsNoIPWhereverItGoes).
func TestFramesAreJudgedByDestinationAndNoRuleIsThereForNothing(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := rulestest.NewPair(t)
	agent := agentCgroup(t)
	w := newWire(t, p)
	settings := []string{"exemption=cgroup", "exemptCgroups=" + agent, "includeIPRanges=10.50.0.0/24,fd50::/64",
		"excludeIPRanges=10.50.0.9,fd50::9", "includeOutboundPorts=8080", "excludeOutboundPorts=22,9999",
		"dnsCapture=true", "dnsServers=192.0.2.53,2001:db8::53"}
	missed := map[string]bool{}
	t.Run("reject", func(t *testing.T) {
		w.judgeFrames(t, missed, rulestest.Plan(t, settings...), append(frameCases(agent),
			packetTo("SCTP to a captured address", false, "10.50.0.1", 132, make([]byte, 16)),
			packetTo("SCTP to a captured IPv6 address", false, "fd50::1", 132, make([]byte, 16))))
	})
	t.Run("allow", func(t *testing.T) {
		w.judgeFrames(t, missed, rulestest.Plan(t, append(settings, "nonTCP=allow")...), append(frameCases(agent),
			packetTo("SCTP to a captured address", true, "10.50.0.1", 132, make([]byte, 16)),
			packetTo("SCTP to a captured IPv6 address", true, "fd50::1", 132, make([]byte, 16))))
	})
	for name, noticed := range missed {
		if !noticed {
			t.Errorf("nobody misses %q", name)
		}
	}
}

func frameCases(agent string) []frameCase {
	syn, syn8080, syn22 := escape.TCP(escape.SYN), escape.TCPTo(8080, escape.SYN), escape.TCPTo(22, escape.SYN)
	out := []frameCase{
		{"the proxy's own connection", true, func(w *wire) {
			if rulestest.JoinCgroup(agent) == nil {
				escape.Connect(w.To4, 80)
			}
		}},
		{"an inverse ARP request", true, func(w *wire) {
			escape.SendFrame(w.Link, escape.FrameOptions{Claims: unix.ETH_P_ARP}, escape.Ether(w.NextHop, w.MAC, unix.ETH_P_ARP, append([]byte{0, 1, 8, 0, 6, 4, 0, 8}, make([]byte, 20)...)))
		}},
		{"a frame of another protocol with a packet inside", false, func(w *wire) {
			escape.SendFrame(w.Link, escape.FrameOptions{Claims: unix.ETH_P_IP}, escape.Ether(w.NextHop, w.MAC, 0x88b5, escape.IP4(unix.IPPROTO_UDP, w.From4, w.To4, escape.UDP(22))))
		}},
		{"a frame that lies, elsewhere", false, func(w *wire) {
			w.Frame(netip.MustParseAddr("192.0.2.1"), escape.FrameOptions{Claims: unix.ETH_P_ARP}, unix.IPPROTO_TCP, syn)
		}},
		packetTo("DHCP", true, "10.50.0.255", unix.IPPROTO_UDP, escape.UDPFrom(68, 67)),
		packetTo("DHCPv6", true, "fd50::1", unix.IPPROTO_UDP, escape.UDPFrom(546, 547)),
		packetTo("IGMP", true, "10.50.0.1", unix.IPPROTO_IGMP, make([]byte, 8)),
		packetTo("an ICMP error", true, "10.50.0.1", unix.IPPROTO_ICMP, append([]byte{3, 1}, make([]byte, 14)...)),
		packetTo("an ICMPv6 error", true, "fd50::1", unix.IPPROTO_ICMPV6, append([]byte{1, 4}, make([]byte, 14)...)),
	}
	for _, a := range []struct{ captured, excluded, elsewhere, server string }{
		{"10.50.0.1", "10.50.0.9", "192.0.2.1", "192.0.2.53"}, {"fd50::1", "fd50::9", "2001:db8::1", "2001:db8::53"},
	} {
		out = append(out,
			packetTo("TCP to "+a.captured, false, a.captured, unix.IPPROTO_TCP, syn),
			packetTo("TCP to the excluded "+a.excluded, true, a.excluded, unix.IPPROTO_TCP, syn),
			packetTo("TCP elsewhere, to "+a.elsewhere, true, a.elsewhere, unix.IPPROTO_TCP, syn),
			packetTo("TCP to an included port of "+a.elsewhere, false, a.elsewhere, unix.IPPROTO_TCP, syn8080),
			packetTo("TCP to an excluded port of "+a.captured, true, a.captured, unix.IPPROTO_TCP, syn22),
			packetTo("UDP to an excluded port of "+a.captured, true, a.captured, unix.IPPROTO_UDP, escape.UDP(22)),
			packetTo("UDP elsewhere, to "+a.elsewhere, true, a.elsewhere, unix.IPPROTO_UDP, escape.UDP(443)),
			packetTo("DNS to "+a.server, false, a.server, unix.IPPROTO_UDP, escape.UDP(53)),
			packetTo("DNS over TCP to "+a.server, false, a.server, unix.IPPROTO_TCP, escape.TCPTo(53, escape.SYN)),
			packetTo("DNS to another server, "+a.captured, true, a.captured, unix.IPPROTO_UDP, escape.UDP(53)))
	}
	return out
}

// judgeFrames tries the cases, and notes for each rule whether one ends otherwise
// without it.
func (w *wire) judgeFrames(t *testing.T, missed map[string]bool, p rules.Plan, cases []frameCase) {
	t.Helper()
	ends := func(c frameCase) bool {
		return len(w.watchRoot(t, func() { c.send(w) })) > 0
	}
	p = withoutFrameRule(withoutFrameRule(p, socketRule), "DHCP broadcast")
	apply(t, w.Pod, p)
	for _, c := range cases {
		if ends(c) != c.arrives {
			t.Errorf("%s: arrives %t", c.name, !c.arrives)
		}
	}
	for i, rule := range p.Frames.Rules {
		mutilated := p
		mutilated.Frames.Rules = slices.Delete(slices.Clone(p.Frames.Rules), i, i+1)
		apply(t, w.Pod, mutilated)
		otherwise := slices.ContainsFunc(cases, func(c frameCase) bool { return ends(c) != c.arrives })
		missed[rule.Name] = missed[rule.Name] || otherwise
	}
	if err := nft.Remove(w.Pod.FD()); err != nil {
		t.Fatal(err)
	}
}

func TestAnExcludedInterfaceIsLeftToPacketSockets(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	w := newWire(t, rulestest.NewPair(t))
	apply(t, w.Pod, rulestest.Plan(t, "excludeInterfaces=eth0"))
	if seen := w.watch(t, escape.Attempt{Name: "packet", Send: func() { w.Frame(w.To4, escape.FrameOptions{}, unix.IPPROTO_TCP, escape.TCP(escape.SYN)) }}); len(seen) == 0 {
		t.Error("nothing arrived")
	}
	apply(t, w.Pod, rulestest.Plan(t, "excludeOutboundPorts=9999"))
	if seen := w.watch(t, escape.Attempt{Name: "packet", Send: func() { w.Frame(w.To4, escape.FrameOptions{}, unix.IPPROTO_TCP, escape.TCP(escape.SYN)) }}); len(seen) > 0 {
		t.Error("it arrives though the interface is not excluded any more")
	}
}

func TestCheckNoticesAnInterfaceWithoutItsChainAndForgetsOneThatIsGone(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	apply(t, p.Pod, rulestest.Plan(t))
	removeLink(t, p.Pod, "eth0")
	if err := nft.Check(p.Pod.FD(), rulestest.Plan(t)); err != nil {
		t.Errorf("after the interface went: %v", err)
	}
	if err := deleteChain(t, p.Pod, "egress_lo"); err != nil {
		t.Fatal(err)
	}
	if err := nft.Check(p.Pod.FD(), rulestest.Plan(t)); err == nil || err.Error() != "chain egress_lo: missing" {
		t.Errorf("after its chain was deleted: %v", err)
	}
	apply(t, p.Pod, rulestest.Plan(t))
	if err := nft.Check(p.Pod.FD(), rulestest.Plan(t)); err != nil {
		t.Error(err)
	}
}
