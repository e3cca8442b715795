package proxy

import (
	"net/netip"
	"sync"
	"time"
)

// pickAddr takes the addresses in turn: first those of the family the application
// chose, which is known to work from there, then the others. One that was tried in
// vain comes again only when all were. all is not empty.
func (s *Server) pickAddr(all []netip.Addr, a asked, turn uint32) netip.Addr {
	if len(all) == 1 {
		return all[0]
	}
	four := a.dst.Addr().Is4()
	six := s.countsIPv6(all)
	if !six {
		four = true
	}
	for _, want := range [...]func(netip.Addr) bool{
		func(x netip.Addr) bool { return x.Is4() == four && !a.hasTried(x) },
		func(x netip.Addr) bool { return (x.Is4() || six) && !a.hasTried(x) },
		func(x netip.Addr) bool { return x.Is4() == four },
		func(x netip.Addr) bool { return x.Is4() || six },
	} {
		if addr, ok := pickIn(all, turn, want); ok {
			return addr
		}
	}
	return all[turn%uint32(len(all))]
}

// pickIn takes those that are wanted in turn.
func pickIn(all []netip.Addr, turn uint32, want func(netip.Addr) bool) (netip.Addr, bool) {
	n := uint32(0)
	for _, a := range all {
		if want(a) {
			n++
		}
	}
	if n == 0 {
		return netip.Addr{}, false
	}
	n = turn % n
	for _, a := range all {
		if !want(a) {
			continue
		}
		if n == 0 {
			return a, true
		}
		n--
	}
	return netip.Addr{}, false
}

// countsIPv6 says whether the IPv6 ones of these addresses are of use: where the
// namespace has no route for them they are not, unless there is nothing else to try.
func (s *Server) countsIPv6(all []netip.Addr) bool {
	four, six := false, false
	for _, a := range all {
		four, six = four || a.Is4(), six || !a.Is4()
	}
	return six && (!four || s.ipv6.yes(time.Now()))
}

// remembered asks a question whose answer seldom changes, at most every ten seconds.
type remembered struct {
	ask func() bool

	mu     sync.Mutex
	asked  time.Time
	answer bool
}

func (r *remembered) yes(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.asked) >= sweepEvery {
		r.asked, r.answer = now, r.ask()
	}
	return r.answer
}

// globalIPv6 is an address of the range that global ones are of (RFC 4291 §2.4).
var globalIPv6 = netip.MustParseAddr("2000::1")
