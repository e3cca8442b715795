package nft_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"golang.org/x/sys/unix"
)

// frameCase is something that a packet socket sends, or an ordinary one.
type frameCase struct {
	name    string
	arrives bool
	send    func(w *wire)
}

func packetTo(name string, arrives bool, to string, protocol byte, payload []byte) frameCase {
	return frameCase{name, arrives, func(w *wire) { w.frame(netip.MustParseAddr(to), frameOptions{}, protocol, payload) }}
}

// The layer beneath the packet sockets follows the same list as everything else,
// and each of its rules is needed: without it one of the cases ends otherwise.
func TestPacketSocketsAreJudgedByDestinationAndNoRuleIsThereForNothing(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := newPair(t)
	agent := agentCgroup(t)
	w := newWire(t, p)
	settings := []string{"exemption=cgroup", "exemptCgroups=" + agent, "includeIPRanges=10.50.0.0/24,fd50::/64",
		"excludeIPRanges=10.50.0.9,fd50::9", "includeOutboundPorts=8080", "excludeOutboundPorts=22,9999",
		"dnsCapture=true", "dnsServers=192.0.2.53,2001:db8::53"}
	missed := map[string]bool{}
	t.Run("reject", func(t *testing.T) {
		w.judgeFrames(t, missed, plan(t, settings...), append(frameCases(agent),
			packetTo("SCTP to a captured address", false, "10.50.0.1", 132, make([]byte, 16)),
			packetTo("SCTP to a captured IPv6 address", false, "fd50::1", 132, make([]byte, 16))))
	})
	t.Run("allow", func(t *testing.T) {
		w.judgeFrames(t, missed, plan(t, append(settings, "nonTCP=allow")...), append(frameCases(agent),
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
	syn, syn8080, syn22 := tcp(synFlag), tcpTo(8080, synFlag), tcpTo(22, synFlag)
	out := []frameCase{
		{"the proxy's own connection", true, func(w *wire) {
			if rulestest.JoinCgroup(agent) == nil {
				connect(w.to4, 80)
			}
		}},
		{"an inverse ARP request", true, func(w *wire) {
			sendFrame(w.eth0, frameOptions{claims: unix.ETH_P_ARP}, ether(w.mac, w.podMAC, unix.ETH_P_ARP, append([]byte{0, 1, 8, 0, 6, 4, 0, 8}, make([]byte, 20)...)))
		}},
		{"a frame of another protocol with a packet inside", false, func(w *wire) {
			sendFrame(w.eth0, frameOptions{claims: unix.ETH_P_IP}, ether(w.mac, w.podMAC, 0x88b5, ip4(unix.IPPROTO_UDP, w.from4, w.to4, udp(22))))
		}},
		{"a frame that lies, elsewhere", false, func(w *wire) {
			w.frame(netip.MustParseAddr("192.0.2.1"), frameOptions{claims: unix.ETH_P_ARP}, unix.IPPROTO_TCP, syn)
		}},
		packetTo("DHCP", true, "10.50.0.255", unix.IPPROTO_UDP, udpFrom(68, 67)),
		packetTo("DHCPv6", true, "fd50::1", unix.IPPROTO_UDP, udpFrom(546, 547)),
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
			packetTo("UDP to an excluded port of "+a.captured, true, a.captured, unix.IPPROTO_UDP, udp(22)),
			packetTo("UDP elsewhere, to "+a.elsewhere, true, a.elsewhere, unix.IPPROTO_UDP, udp(443)),
			packetTo("DNS to "+a.server, false, a.server, unix.IPPROTO_UDP, udp(53)),
			packetTo("DNS over TCP to "+a.server, false, a.server, unix.IPPROTO_TCP, tcpTo(53, synFlag)),
			packetTo("DNS to another server, "+a.captured, true, a.captured, unix.IPPROTO_UDP, udp(53)))
	}
	return out
}

// judgeFrames tries the cases, and notes for each rule whether one ends otherwise
// without it.
func (w *wire) judgeFrames(t *testing.T, missed map[string]bool, p rules.Plan, cases []frameCase) {
	t.Helper()
	ends := func(c frameCase) bool {
		return len(w.watch(t, attempt{"", func() { c.send(w) }})) > 0
	}
	apply(t, w.pod, p)
	for _, c := range cases {
		if ends(c) != c.arrives {
			t.Errorf("%s: arrives %t", c.name, !c.arrives)
		}
	}
	for i, rule := range p.Frames.Rules {
		mutilated := p
		mutilated.Frames.Rules = slices.Delete(slices.Clone(p.Frames.Rules), i, i+1)
		apply(t, w.pod, mutilated)
		otherwise := slices.ContainsFunc(cases, func(c frameCase) bool { return ends(c) != c.arrives })
		missed[rule.Name] = missed[rule.Name] || otherwise
	}
	if err := nft.Remove(w.pod.FD()); err != nil {
		t.Fatal(err)
	}
}

func TestAnExcludedInterfaceIsLeftToPacketSockets(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	w := newWire(t, newPair(t))
	apply(t, w.pod, plan(t, "excludeInterfaces=eth0"))
	if seen := w.watch(t, attempt{"packet", func() { w.frame(w.to4, frameOptions{}, unix.IPPROTO_TCP, tcp(synFlag)) }}); len(seen) == 0 {
		t.Error("nothing arrived")
	}
	apply(t, w.pod, plan(t, "excludeOutboundPorts=9999"))
	if seen := w.watch(t, attempt{"packet", func() { w.frame(w.to4, frameOptions{}, unix.IPPROTO_TCP, tcp(synFlag)) }}); len(seen) > 0 {
		t.Error("it arrives though the interface is not excluded any more")
	}
}

func TestCheckNoticesAnInterfaceWithoutItsChainAndForgetsOneThatIsGone(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	apply(t, p.pod, plan(t))
	removeLink(t, p.pod, "eth0")
	if err := nft.Check(p.pod.FD(), plan(t)); err != nil {
		t.Errorf("after the interface went: %v", err)
	}
	if err := deleteChain(t, p.pod, "egress_lo"); err != nil {
		t.Fatal(err)
	}
	if err := nft.Check(p.pod.FD(), plan(t)); err == nil || err.Error() != "chain egress_lo: missing" {
		t.Errorf("after its chain was deleted: %v", err)
	}
	apply(t, p.pod, plan(t))
	if err := nft.Check(p.pod.FD(), plan(t)); err != nil {
		t.Error(err)
	}
}
