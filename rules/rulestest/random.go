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
type Random struct {
	*rand.Rand
	cgroups []string // none: no flow comes from one, and no configuration exempts one
}

// NewRandom starts a sequence; streams of one seed are independent.
func NewRandom(seed, stream uint64) Random {
	return Random{rand.New(rand.NewPCG(seed, stream)), cgroupNames()}
}

var (
	ports4   = []uint16{22, 53, 67, 80, 443, 547, 8080, 8081, 9999}
	ids      = []uint32{0, 7, 1337, 4242}
	marks    = []uint32{0, 7, 0x539}
	destined = addresses("10.1.0.1", "10.1.0.200", "10.1.1.1", "10.2.0.1", "172.16.5.5", "203.0.113.7", "240.0.0.9",
		"10.88.0.9", "127.0.0.1", "127.0.0.2", "127.0.0.53", "10.77.0.2", "10.77.0.1",
		"2001:db8::1", "2001:db8:1::1", "2001:db8:1::ffff", "fd00::5", "fd88::9", "::1", "fd77::2", "fd77::1",
		"2001:db8::2", "2001:db8:1::2", "fd00::6", "2001:db8:ffff::1",
		"240.240.0.1", "240.240.255.254", "240.239.255.255", "2001:2::1", "2001:2:0:ffff::ffff", "2001:2:1::1")
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
		c.ExcludeInterfaces = rules.Interfaces{pick(r, []string{"net1", "net1", "eth0", "vm0", "lo", "nosuch0"})}
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
	c.OutboundPort, c.DNSPort, c.InboundPort = pick(r, outboundPorts), pick(r, dnsPorts), pick(r, inboundPorts)
	r.arriving(&c)
	r.exemption(&c)
	r.groups(&c)
	return c
}

// arriving draws what concerns packets from outside.
func (r Random) arriving(c *rules.Config) {
	if r.oneIn(2) {
		c.IncludeInboundPorts = r.ports()
	}
	if r.oneIn(2) {
		c.ExcludeInboundPorts = r.ports()
	}
	if r.oneIn(3) {
		c.RerouteInterfaces = pick(r, []rules.Interfaces{{"vm0"}, {"vm0"}, {"vm0"}, {"eth0", "vm0"}, {"eth0"}})
	}
	for _, name := range c.ExcludeInterfaces {
		if slices.Contains(c.RerouteInterfaces, name) {
			c.RerouteInterfaces = nil
		}
	}
}

// otherID is an id other than root's, or root's now and then where no other exists.
func (r Random) otherID() uint32 {
	if lab.OwnUserNamespace() && r.oneIn(3) {
		return 0
	}
	return pick(r, ids[1:])
}

func (r Random) groups(c *rules.Config) {
	if r.oneIn(6) {
		c.OwnerGroupsInclude = rules.Groups{IDs: rules.IDs{0, pick(r, ids)}}
		if lab.OwnUserNamespace() && r.oneIn(2) {
			c.OwnerGroupsInclude.IDs = rules.IDs{7}
		}
	}
	if r.oneIn(6) {
		c.OwnerGroupsExclude = rules.IDs{r.otherID()}
	}
}

func (r Random) exemption(c *rules.Config) {
	switch r.IntN(5) {
	case 4:
		if len(r.cgroups) > 0 {
			c.Exemption, c.ExemptCgroups = rules.ExemptByCgroup, rules.Cgroups{pick(r, r.cgroups)}
		}
	case 0:
		c.Exemption, c.ExemptMark = rules.ExemptByMark, pick(r, marks[1:])
	case 1:
		c.ExemptUIDs = rules.IDs{r.otherID()}
	case 2:
		c.ExemptGIDs = rules.IDs{r.otherID()}
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
