package backend_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/nft"
)

// The bar of BenchmarkNewConnection: what ten thousand ranges may add, in enough
// rounds to say so.
const (
	mostForManyRanges = 1.05
	enoughRounds      = 10
	perRound          = 1000
)

// connecting is a namespace with rules, and what its new connections cost.
type connecting struct {
	name  string
	ns    *lab.Namespace
	times []time.Duration // of one connection, a round each
}

// BenchmarkNewConnection makes redirected connections in namespaces that differ in
// their number of ranges and their backend: interleaved, round by round, medians
// compared. The destination is in the last range.
func BenchmarkNewConnection(b *testing.B) {
	legacy, err := iptables.Find(iptables.Legacy)
	labtest.NeedsInstalled(b, err)
	overNFT, err := iptables.Find(iptables.NFT)
	labtest.NeedsInstalled(b, err)
	one, many := rangesPlan(b, 1), rangesPlan(b, 10_000)
	field := []*connecting{
		newConnecting(b, "nft-1", nft.Apply, one),
		newConnecting(b, "nft-10000", nft.Apply, many),
		newConnecting(b, "iptables-nft-10000", overNFT.Apply, many),
		newConnecting(b, "iptables-legacy-10000", legacy.Apply, many),
	}
	var ratios []float64
	for i := 0; b.Loop(); i++ {
		for j := range field { // each comes after each other in turn
			field[(i+j*(1+i%2*2))%len(field)].round(b)
		}
		ratios = append(ratios, float64(last(field[1].times))/float64(last(field[0].times)))
	}
	for _, c := range field {
		slices.Sort(c.times)
		b.ReportMetric(float64(c.times[len(c.times)/2].Nanoseconds())/1000, c.name+"-µs")
	}
	slices.Sort(ratios)
	ratio := ratios[len(ratios)/2]
	b.ReportMetric(ratio, "×nft-1")
	b.ReportMetric(0, "ns/op")
	if b.N >= enoughRounds && ratio > mostForManyRanges {
		b.Errorf("a new connection with 10 000 ranges costs %.3f of one with a single range; the bar is %.2f", ratio, mostForManyRanges)
	}
}

func last(times []time.Duration) time.Duration { return times[len(times)-1] }

// lastRange holds the destination; the others are beneath it.
var lastRange = netip.MustParsePrefix("11.0.0.0/24")

func rangesPlan(b *testing.B, n int) rules.Plan {
	b.Helper()
	ranges := []netip.Prefix{lastRange}
	for i := range n - 1 {
		ranges = append(ranges, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 25))
	}
	c := rules.Default()
	c.IncludeIPRanges = cidr.Of(ranges...)
	p, err := rules.NewPlan(c)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func newConnecting(b *testing.B, name string, apply func(int, rules.Plan) error, p rules.Plan) *connecting {
	b.Helper()
	c := &connecting{name: name, ns: labtest.New(b)}
	err := errors.Join(c.ns.Do(wayOut), apply(c.ns.FD(), p))
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return c
}

// wayOut gives this thread's namespace an interface that leads everywhere.
func wayOut() error {
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "far"}); err != nil {
		return err
	}
	for _, name := range []string{"eth0", "far"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	return errors.Join(
		lab.AddAddress("eth0", netip.MustParsePrefix("10.255.0.2/24")),
		lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.255.0.1")))
}

// round makes connections one after another, both ends on one thread, so that
// nothing is timed but the kernel.
func (c *connecting) round(b *testing.B) {
	b.Helper()
	err := c.ns.Do(func() error {
		listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(listener)
		err = errors.Join(unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.Bind(listener, &unix.SockaddrInet4{Port: int(rules.Default().OutboundPort)}), unix.Listen(listener, 16))
		if err != nil {
			return err
		}
		began := time.Now()
		for range perRound {
			if err := connectOnce(listener); err != nil {
				return err
			}
		}
		c.times = append(c.times, time.Since(began)/perRound)
		return nil
	})
	if err != nil {
		b.Fatalf("%s: %v", c.name, err)
	}
}

func connectOnce(listener int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A reset at close leaves no TIME_WAIT behind.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: lastRange.Addr().Next().As4()}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	accepted, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return unix.Close(accepted)
}
