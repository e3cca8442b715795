package dnsproxy

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/vip"
)

// lookAgainAfter is how old an answer about routes may be: a pod's come and go with
// its interfaces.
const lookAgainAfter = 2 * time.Second

// routes knows in which families this process's namespace has a route to virtual
// addresses. It asks by connecting a UDP socket, which sends nothing: the kernel
// looks for route and source address as it would for the application.
type routes struct {
	mu         sync.Mutex
	looked     time.Time
	ipv4, ipv6 bool
}

func (r *routes) reachable() (ipv4, ipv6 bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.looked.IsZero() || now.Sub(r.looked) >= lookAgainAfter {
		r.looked = now
		r.ipv4, r.ipv6 = routed(vip.Slot(1).IPv4()), routed(vip.Slot(1).IPv6())
	}
	return r.ipv4, r.ipv6
}

func routed(to netip.Addr) bool {
	const discard = 9 // RFC 863; nothing is sent
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, discard)))
	if err != nil {
		return false
	}
	c.Close()
	return true
}
