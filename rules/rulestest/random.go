// Package rulestest judges a rules backend by real packets: it draws random
// configurations and flows, lets the backend program a namespace, sends each flow
// and compares what became of it with rules.Decide. Every backend runs it.
package rulestest

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of the random configurations and flows; 0 picks one")
	pairs    = flag.Int("pairs", 4000, "how many (configuration, flow) pairs to try")
)

// Seed gives the test's seed and logs how to run with it again.
func Seed(t testing.TB) uint64 {
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with: -run '%s' -seed %d", t.Name(), s)
	return s
}

// Random draws configurations and flows from one seed. Addresses, ports and ids
// come from small pools, so that flows meet the rules often.
type Random struct{ *rand.Rand }

// NewRandom starts a sequence; streams of one seed are independent.
func NewRandom(seed, stream uint64) Random { return Random{rand.New(rand.NewPCG(seed, stream))} }

var (
	ports4   = []uint16{22, 53, 67, 80, 443, 547, 8080, 8081, 9999}
	ids      = []uint32{0, 7, 1337, 4242}
	marks    = []uint32{0, 7, 0x539}
	destined = addresses("10.1.0.1", "10.1.0.200", "10.1.1.1", "10.2.0.1", "172.16.5.5", "203.0.113.7", "240.0.0.9",
		"10.88.0.9", "127.0.0.1", "127.0.0.2", "127.0.0.53", "10.77.0.2", "10.77.0.1",
		"2001:db8::1", "2001:db8:1::1", "2001:db8:1::ffff", "fd00::5", "fd88::9", "::1", "fd77::2", "fd77::1")
)

func addresses(texts ...string) []netip.Addr {
	out := make([]netip.Addr, len(texts))
	for i, s := range texts {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

func pick[T any](r Random, from []T) T { return from[r.IntN(len(from))] }

func (r Random) oneIn(n int) bool { return r.IntN(n) == 0 }

// Config draws a valid configuration.
func (r Random) Config() rules.Config {
	c := rules.Default()
	c.IncludeIPRanges = r.ranges(4, 5)
	if r.oneIn(2) {
		c.ExcludeIPRanges = r.ranges(40, 2)
	}
	if r.oneIn(2) {
		c.IncludeOutboundPorts = r.ports()
	}
	if r.oneIn(3) {
		c.ExcludeOutboundPorts = r.ports()
	}
	if r.oneIn(4) {
		c.ExcludeInterfaces = rules.Interfaces{pick(r, []string{"net1", "net1", "eth0", "lo", "nosuch0"})}
	}
	if r.oneIn(2) {
		c.DNSCapture = true
		c.DNSServers = r.ranges(2, 3)
		if c.DNSServers.None() {
			c.DNSServers = cidr.Everything()
		}
	}
	if r.oneIn(3) {
		c.NonTCP = rules.NonTCPAllow
	}
	if r.oneIn(2) {
		c.FailurePolicy = rules.FailureBypass
	}
	c.OutboundPort, c.DNSPort = pick(r, outboundPorts), pick(r, dnsPorts)
	r.exemption(&c)
	r.groups(&c)
	return c
}

func (r Random) groups(c *rules.Config) {
	if r.oneIn(6) {
		c.OwnerGroupsInclude = rules.Groups{IDs: rules.IDs{0, pick(r, ids)}}
	}
	if r.oneIn(6) {
		c.OwnerGroupsExclude = rules.IDs{pick(r, ids[1:])}
	}
}

func (r Random) exemption(c *rules.Config) {
	switch r.IntN(4) {
	case 0:
		c.Exemption, c.ExemptMark = rules.ExemptByMark, pick(r, marks[1:])
	case 1:
		c.ExemptUIDs = rules.IDs{pick(r, ids[1:])}
	case 2:
		c.ExemptGIDs = rules.IDs{pick(r, ids[1:])}
	}
	if r.oneIn(20) && c.Exemption == rules.ExemptByUID {
		c.ExemptUIDs = rules.IDs{0, 7}
	}
}

// ranges draws "*" once in star times, else up to most-1 prefixes around the
// addresses that flows go to.
func (r Random) ranges(star, most int) cidr.List {
	if r.oneIn(star) {
		return cidr.Everything()
	}
	var out []netip.Prefix
	for range r.IntN(most) + r.IntN(2) {
		addr := pick(r, destined)
		bits := pick(r, []int{1, 7, 8, 9, 12, 16, 23, 24, 30, 31, 32})
		if addr.Is6() {
			bits = pick(r, []int{1, 8, 16, 32, 47, 48, 64, 112, 127, 128, 128})
		}
		if r.oneIn(25) {
			bits = 0
		}
		out = append(out, netip.PrefixFrom(addr, bits))
	}
	return cidr.Of(out...)
}

func (r Random) ports() rules.Ports {
	if r.oneIn(12) {
		return rules.AllPorts()
	}
	port := pick(r, ports4)
	out := rules.Ports{{First: port, Last: port}}
	if r.oneIn(3) {
		out = append(out, rules.PortRange{First: 10000, Last: 65535})
	}
	if r.oneIn(3) && port > 443 {
		out[0].First = 444
	}
	return out
}

// Flow draws a flow between the namespaces of a World.
func (r Random) Flow() rules.Flow {
	f := rules.Flow{
		Dst:      pick(r, destined),
		DstPort:  pick(r, ports4),
		Protocol: pick(r, []rules.Protocol{rules.TCP, rules.TCP, rules.TCP, rules.TCP, rules.UDP, rules.UDP, rules.UDP, rules.ICMP, rules.SCTP, rules.IGMP}),
		UID:      r.owner(), GID: r.owner(),
	}
	if r.oneIn(4) {
		f.Mark = pick(r, marks)
	}
	switch f.Protocol {
	case rules.ICMP:
		f.ICMPType = pick(r, []uint8{8, 8, 0, 13}) // echo request, echo reply, timestamp
		if f.Dst.Is6() {
			f.Protocol, f.ICMPType = rules.ICMPv6, pick(r, []uint8{128, 128, 129, 132})
		}
	case rules.UDP:
		// A DHCP client's port is fixed, so its flows continue each other; they pass
		// whatever the configuration. Others to these ports are not DHCP.
		switch {
		case f.DstPort == 67 && f.Dst.Is4() && r.oneIn(2):
			f.SrcPort = 68
		case f.DstPort == 547 && f.Dst.Is6() && r.oneIn(2):
			f.SrcPort = 546
		}
	}
	if r.oneIn(5) {
		f.DstPort, f.SrcPort = 53, 0
	}
	f.OutInterface = outInterface(f.Dst)
	return f
}

// owner is 0 three times in four, and always where no other id exists.
func (r Random) owner() uint32 {
	id := pick(r, ids)
	if r.oneIn(2) || lab.OwnUserNamespace() {
		return 0
	}
	return id
}

// outInterface is where a World routes an address.
func outInterface(dst netip.Addr) string {
	switch {
	case dst.IsLoopback() || slices.Contains(podAddresses, dst):
		return "lo"
	case net1Range4.Contains(dst) || net1Range6.Contains(dst):
		return "net1"
	}
	return "eth0"
}
