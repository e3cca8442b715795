package rules_test

import (
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/rules"
)

func TestDecideAnswersWhatAPersonWouldAsk(t *testing.T) {
	const seed = `"includeIPRanges":"10.0.0.1/8,2001:db8::/32","excludeIPRanges":"10.96.0.0/12","includeOutboundPorts":"8080","excludeOutboundPorts":"22","exemptUIDs":"1337","exemptGIDs":"1338","excludeInterfaces":"net1"`
	const dns = `"dnsCapture":true,"excludeIPRanges":"10.96.0.0/12"`
	to := func(protocol rules.Protocol, dst string, port uint16) rules.Flow {
		return rules.Flow{Protocol: protocol, Dst: netip.MustParseAddr(dst), DstPort: port, OutInterface: "eth0"}
	}
	lo := func(f rules.Flow) rules.Flow { f.OutInterface = "lo"; return f }
	with := func(f rules.Flow, change func(*rules.Flow)) rules.Flow { change(&f); return f }
	for _, tc := range []struct {
		what, config string
		flow         rules.Flow
		verdict      rules.Verdict
		reason       rules.Reason
	}{
		{"an included range", seed, to(rules.TCP, "10.1.2.3", 80), rules.ToProxy, rules.ReasonIncludedRange},
		{"an included IPv6 range", seed, to(rules.TCP, "2001:db8::9", 80), rules.ToProxy, rules.ReasonIncludedRange},
		{"a mapped address", seed, to(rules.TCP, "::ffff:10.1.2.3", 80), rules.ToProxy, rules.ReasonIncludedRange},
		{"elsewhere", seed, to(rules.TCP, "203.0.113.1", 80), rules.Direct, rules.ReasonHousekeeping},
		{"an excluded range inside an included one", seed, to(rules.TCP, "10.100.0.1", 80), rules.Direct, rules.ReasonExcludedRange},
		{"an excluded range wins over an included port", seed, to(rules.TCP, "10.100.0.1", 8080), rules.Direct, rules.ReasonExcludedRange},
		{"an included port, whatever the address", seed, to(rules.TCP, "203.0.113.1", 8080), rules.ToProxy, rules.ReasonIncludedPort},
		{"an excluded port", seed, to(rules.TCP, "10.1.2.3", 22), rules.Direct, rules.ReasonExcludedPort},
		{"an excluded UDP port", seed, to(rules.UDP, "10.1.2.3", 22), rules.Direct, rules.ReasonExcludedPort},
		{"the proxy by uid", seed, with(to(rules.TCP, "10.1.2.3", 80), func(f *rules.Flow) { f.UID = 1337 }), rules.Direct, rules.ReasonExempt},
		{"the proxy by gid", seed, with(to(rules.TCP, "10.1.2.3", 80), func(f *rules.Flow) { f.GID = 1338 }), rules.Direct, rules.ReasonExempt},
		{"an excluded interface", seed, with(to(rules.TCP, "10.1.2.3", 80), func(f *rules.Flow) { f.OutInterface = "net1" }), rules.Direct, rules.ReasonExcludedInterface},
		{"QUIC inside the ranges", seed, to(rules.UDP, "10.1.2.3", 443), rules.Refused, rules.ReasonNonTCP},
		{"QUIC when allowed", seed + `,"nonTCP":"allow"`, to(rules.UDP, "10.1.2.3", 443), rules.Direct, rules.ReasonOther},
		{"QUIC elsewhere", seed, to(rules.UDP, "203.0.113.1", 443), rules.Direct, rules.ReasonOther},
		{"SCTP inside the ranges", seed, to(rules.SCTP, "10.1.2.3", 0), rules.Refused, rules.ReasonNonTCP},
		{"ping inside the ranges", seed, with(to(rules.ICMP, "10.1.2.3", 0), func(f *rules.Flow) { f.ICMPType = 8 }), rules.Refused, rules.ReasonNonTCP},
		{"an ICMP error", seed, with(to(rules.ICMP, "10.1.2.3", 0), func(f *rules.Flow) { f.ICMPType = 3 }), rules.Direct, rules.ReasonHousekeeping},
		{"neighbour discovery", `"includeIPRanges":"*"`, with(to(rules.ICMPv6, "ff02::1:ff00:1", 0), func(f *rules.Flow) { f.ICMPType = 135 }), rules.Direct, rules.ReasonHousekeeping},
		{"DNS without capture", seed, to(rules.UDP, "10.1.2.3", 53), rules.Direct, rules.ReasonHousekeeping},
		{"DNS over TCP without capture", seed, to(rules.TCP, "10.1.2.3", 53), rules.ToProxy, rules.ReasonIncludedRange},
		{"captured DNS", dns, to(rules.UDP, "8.8.8.8", 53), rules.ToDNS, rules.ReasonDNS},
		{"captured DNS over TCP", dns, to(rules.TCP, "8.8.8.8", 53), rules.ToDNS, rules.ReasonDNS},
		{"captured DNS to 127.0.0.53", dns, lo(to(rules.UDP, "127.0.0.53", 53)), rules.ToDNS, rules.ReasonDNS},
		{"DNS to an excluded resolver", dns, to(rules.UDP, "10.96.0.10", 53), rules.Direct, rules.ReasonExcludedRange},
		{"DNS to a resolver not named", `"dnsCapture":true,"dnsServers":"10.96.0.10"`, to(rules.UDP, "8.8.8.8", 53), rules.Direct, rules.ReasonHousekeeping},
		{"loopback under *", `"includeIPRanges":"*"`, lo(to(rules.TCP, "127.0.0.1", 80)), rules.Direct, rules.ReasonLocal},
		{"loopback under 0.0.0.0/0", `"includeIPRanges":"0.0.0.0/0"`, lo(to(rules.TCP, "127.0.0.2", 80)), rules.Direct, rules.ReasonLocal},
		{"loopback UDP", `"includeIPRanges":"*"`, lo(to(rules.UDP, "::1", 80)), rules.Direct, rules.ReasonLocal},
		{"the pod's own address", `"includeIPRanges":"10.0.0.0/8"`, lo(to(rules.TCP, "10.1.0.2", 80)), rules.Direct, rules.ReasonLocal},
		{"the pod's own address, named", `"includeIPRanges":"10.1.0.2"`, lo(to(rules.TCP, "10.1.0.2", 80)), rules.ToProxy, rules.ReasonIncludedRange},
		{"a named loopback range", `"includeIPRanges":"127.0.0.2,10.0.0.0/8"`, lo(to(rules.TCP, "127.0.0.2", 80)), rules.ToProxy, rules.ReasonIncludedRange},
		{"another than the named one", `"includeIPRanges":"127.0.0.2,10.0.0.0/8"`, lo(to(rules.TCP, "127.0.0.1", 80)), rules.Direct, rules.ReasonLocal},
		{"an own address beside a named one", `"includeIPRanges":"127.0.0.2,10.0.0.0/8"`, lo(to(rules.TCP, "10.1.0.2", 80)), rules.Direct, rules.ReasonLocal},
		{"an included port on loopback", `"includeIPRanges":"","includeOutboundPorts":"80"`, lo(to(rules.TCP, "127.0.0.1", 80)), rules.Direct, rules.ReasonLocal},
		{"no ranges", `"includeIPRanges":""`, to(rules.TCP, "10.1.2.3", 80), rules.Direct, rules.ReasonHousekeeping},
		{"the mark", `"exemption":"mark","exemptMark":"0x539"`, with(to(rules.TCP, "10.1.2.3", 80), func(f *rules.Flow) { f.Mark = 0x539 }), rules.Direct, rules.ReasonExempt},
		{"another mark", `"exemption":"mark","exemptMark":"0x539"`, with(to(rules.TCP, "10.1.2.3", 80), func(f *rules.Flow) { f.Mark = 1 }), rules.ToProxy, rules.ReasonIncludedRange},
		{"a virtual address", `"includeIPRanges":"10.0.0.0/8","dnsCapture":true`, to(rules.TCP, "240.240.3.4", 5432), rules.ToProxy, rules.ReasonIncludedRange},
		{"a virtual IPv6 address", `"includeIPRanges":"","dnsCapture":true`, to(rules.TCP, "2001:2::304", 5432), rules.ToProxy, rules.ReasonIncludedRange},
		{"QUIC to a virtual address", `"includeIPRanges":"","dnsCapture":true`, to(rules.UDP, "240.240.3.4", 443), rules.Refused, rules.ReasonNonTCP},
		{"beside the virtual addresses", `"includeIPRanges":"","dnsCapture":true`, to(rules.TCP, "240.241.0.1", 5432), rules.Direct, rules.ReasonHousekeeping},
		{"a virtual address, excluded", `"dnsCapture":true,"excludeIPRanges":"240.0.0.0/4"`, to(rules.TCP, "240.240.3.4", 5432), rules.Direct, rules.ReasonExcludedRange},
		{"the range without DNS capture", `"includeIPRanges":"10.0.0.0/8"`, to(rules.TCP, "240.240.3.4", 5432), rules.Direct, rules.ReasonHousekeeping},
		{"uid 1337, never named", `"includeIPRanges":"*"`, with(to(rules.TCP, "10.1.2.3", 80), func(f *rules.Flow) { f.UID, f.GID = 1337, 1337 }), rules.ToProxy, rules.ReasonIncludedRange},
	} {
		verdict, reason := rules.Decide(parse(t, "{"+tc.config+"}"), tc.flow)
		if verdict != tc.verdict || reason != tc.reason {
			t.Errorf("%s: %s (%s), want %s (%s)", tc.what, verdict, reason, tc.verdict, tc.reason)
		}
	}
}

func TestPrecedenceIsInTheOrderOfItsReasons(t *testing.T) {
	for i, line := range rules.Precedence() {
		if int(line.Reason) != i {
			t.Errorf("line %d is %q", i, line.Name)
		}
	}
}
