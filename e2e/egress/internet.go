package egress

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// DNS is where an internet answers for names.
const DNS = "198.51.100.53"

// Internet is a namespace with hosts that have names, addresses and servers.
type Internet struct {
	NS *lab.Namespace
	CA string // file of the authority behind all TLS here
	// TTL of what DNS answers, in seconds; default 30.
	TTL uint32

	t         *testing.T
	authority *authority

	mu        sync.Mutex
	addresses map[string][]netip.Addr // what DNS says
	owners    map[netip.Addr]string   // the name that an address was made for
	clients   map[string][2]string    // files of certificates
	reached   map[netip.Addr]int      // connections
	last      int                     // host number given out
	seen      []Seen
	asked     map[string]bool // names that DNS was asked for
}

// NewInternet is one by itself, which ends with the test: DNS at DNS, and no cable yet.
func NewInternet(t *testing.T) *Internet {
	t.Helper()
	a := newAuthority(t)
	n := &Internet{
		NS: labtest.New(t), CA: filepath.Join(a.dir, "ca.pem"), TTL: 30, t: t, authority: a,
		addresses: map[string][]netip.Addr{}, owners: map[netip.Addr]string{},
		clients: map[string][2]string{}, reached: map[netip.Addr]int{}, asked: map[string]bool{}, last: 100,
	}
	n.own("dns", netip.MustParseAddr(DNS))
	n.serveDNS()
	return n
}

// Name is the addresses of a host, which begins to exist when it is first named: an
// IPv4 and an IPv6 address of its own, or those that are given.
func (n *Internet) Name(name string, addresses ...string) []netip.Addr {
	n.t.Helper()
	if len(addresses) == 0 {
		n.mu.Lock()
		known, named := n.addresses[name]
		if !named {
			n.last++
		}
		host := n.last
		n.mu.Unlock()
		if named {
			return known
		}
		addresses = []string{fmt.Sprintf("203.0.113.%d", host), fmt.Sprintf("2001:db8::%d", host)}
	}
	var all []netip.Addr
	for _, a := range addresses {
		all = append(all, netip.MustParseAddr(a))
		n.own(name, all[len(all)-1])
	}
	n.Record(name, all...)
	return all
}

// own makes an address of name's, unless it is somebody's already.
func (n *Internet) own(name string, a netip.Addr) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.owners[a]; taken {
		return
	}
	n.owners[a] = name
	Must(n.t, n.NS.Do(func() error { return lab.AddAddress("lo", netip.PrefixFrom(a, a.BitLen())) }))
}

// Lookup is a name's first address of a family, "IPv4" or "IPv6".
func (n *Internet) Lookup(name, family string) string {
	n.t.Helper()
	for _, a := range n.Name(name) {
		if a.Is6() == (family == "IPv6") {
			return a.String()
		}
	}
	n.t.Fatalf("%s has no %s address", name, family)
	return ""
}

// Certificate is one for names, by the authority of CA.
func (n *Internet) Certificate(names ...string) tls.Certificate {
	n.t.Helper()
	return n.authority.issue(names...)
}

// clientCertificate is a certificate's file and its key's.
func (n *Internet) clientCertificate(who string) [2]string {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, there := n.clients[who]; !there {
		n.clients[who] = n.authority.files(who, n.authority.issue(who))
	}
	return n.clients[who]
}

// revoked is the file of a list that revokes the certificates of hosts.
func (n *Internet) revoked(hosts ...string) string {
	n.t.Helper()
	return n.authority.revoke(hosts...)
}

// Reach counts a connection that a server accepted.
func (n *Internet) Reach(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reached[local(c).Addr()]++
}

// Reached is how many connections have come to an address.
func (n *Internet) Reached(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reached[netip.MustParseAddr(address)]
}

// Connections is how many have come to a host.
func (n *Internet) Connections(name string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for a, owner := range n.owners {
		if owner == name {
			count += n.reached[a]
		}
	}
	return count
}

func (n *Internet) owner(at netip.AddrPort) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owners[at.Addr()]
}

func local(c net.Conn) netip.AddrPort {
	at := c.LocalAddr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Vanish ends all that hosts say to pods over IPv4, as where a cable was pulled:
// connections stand, and nothing comes of them.
func (n *Internet) Vanish() {
	n.t.Helper()
	n.swallow(netip.MustParseAddr(Address))
}

// swallow drops what hosts send to an address.
func (n *Internet) swallow(hole netip.Addr) {
	n.t.Helper()
	Must(n.t, n.NS.Do(func() error {
		return netlink.RouteReplace(&netlink.Route{
			Dst: &net.IPNet{IP: hole.AsSlice(), Mask: net.CIDRMask(32, 32)}, Type: unix.RTN_BLACKHOLE,
		})
	}))
}

// Drop gives a host an address that swallows what is sent to it: nothing is answered.
func (n *Internet) Drop(name string) {
	n.t.Helper()
	hole := netip.MustParseAddr("192.0.2.1")
	n.swallow(hole)
	n.Record(name, hole)
}
