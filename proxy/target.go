package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// target is one address of an upstream, with what is known of it. It outlives the answers
// of DNS and the snapshots that name it.
type target struct {
	health
	active atomic.Int32 // requests and opaque connections on it
	conns  atomic.Int32 // open or being made
}

// maxTargets bounds how many addresses of one upstream are known: names below a wildcard
// are the application's choice. What is beyond it shares one.
const maxTargets = 4096

// target is what is known of an address.
func (u *upstream) target(addr netip.AddrPort) *target {
	u.knowing.Lock()
	defer u.knowing.Unlock()
	if t := u.targets[addr]; t != nil {
		return t
	}
	if len(u.targets) >= maxTargets {
		return &u.others
	}
	if u.targets == nil {
		u.targets = map[netip.AddrPort]*target{}
	}
	t := new(target)
	u.targets[addr] = t
	return t
}

// forgetTargets drops the addresses that no name leads to any more, that nothing is
// under way on and that are not ejected: an address may come back with DNS's next
// answer.
func (u *upstream) forgetTargets(now time.Time) {
	u.fleets.building.Lock()
	defer u.fleets.building.Unlock()
	listed := map[*target]bool{}
	u.fleets.each(func(f *fleet) {
		for i := range f.members {
			listed[f.members[i].target] = true
		}
	})
	u.knowing.Lock()
	defer u.knowing.Unlock()
	for addr, t := range u.targets {
		if !listed[t] && t.active.Load() == 0 && t.conns.Load() == 0 && !t.ejected(now.UnixNano()) {
			delete(u.targets, addr)
		}
	}
}
