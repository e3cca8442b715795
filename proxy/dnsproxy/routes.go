package dnsproxy

import (
	"sync"
	"time"

	"github.com/sluice-cni/sluice/proxy/dial"
	"github.com/sluice-cni/sluice/vip"
)

// lookAgainAfter is how old an answer about routes may be: a pod's come and go with
// its interfaces.
const lookAgainAfter = 2 * time.Second

// routes knows in which families the namespace of its sockets has a route to virtual
// addresses: the kernel looks for it as it would for the application.
type routes struct {
	sockets dial.Sockets

	mu         sync.Mutex
	looked     time.Time
	ipv4, ipv6 bool
}

func (r *routes) reachable() (ipv4, ipv6 bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.looked.IsZero() || now.Sub(r.looked) >= lookAgainAfter {
		r.looked = now
		r.ipv4, r.ipv6 = r.sockets.Routes(vip.Slot(1).IPv4()), r.sockets.Routes(vip.Slot(1).IPv6())
	}
	return r.ipv4, r.ipv6
}
