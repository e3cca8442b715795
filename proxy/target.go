package proxy

import (
	"net/netip"
	"sync/atomic"
)

// target is one address of an upstream, with what is known of it. It outlives the answers
// of DNS and the snapshots that name it.
type target struct {
	active atomic.Int32 // requests and opaque connections on it
}

// maxTargets bounds how many addresses of one upstream are known: names below a wildcard
// are the application's choice. What is beyond it shares one.
const maxTargets = 4096

// target is what is known of an address.
func (u *upstream) target(addr netip.AddrPort) *target {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.targetLocked(addr)
}

func (u *upstream) targetLocked(addr netip.AddrPort) *target {
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

// forgetTargets drops the addresses that no name leads to any more and that have been of
// no use since the last sweep.
func (u *upstream) forgetTargets() {
	u.fleets.building.Lock()
	defer u.fleets.building.Unlock()
	listed := map[*target]bool{}
	u.fleets.each(func(f *fleet) {
		for i := range f.members {
			listed[f.members[i].target] = true
		}
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	for addr, t := range u.targets {
		if !listed[t] && t.active.Load() == 0 {
			delete(u.targets, addr)
		}
	}
}
