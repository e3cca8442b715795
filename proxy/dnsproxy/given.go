package dnsproxy

import (
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of what is remembered of answers.
const (
	givenEach  = 64              // addresses of one name
	givenGrace = 5 * time.Minute // beyond the TTL: applications connect late
)

// given remembers which addresses registered names were answered with. When it is
// full, what expires first goes; then the proxy's own lookup is the witness.
type given struct {
	most int // names

	mu    sync.RWMutex
	names map[string][]givenAddr
}

type givenAddr struct {
	addr  netip.Addr
	until time.Time
}

// add remembers the addresses of an answer to a name.
func (g *given) add(name string, records []dns.RR, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rr := range records {
		addr, ok := addressOf(rr)
		if !ok {
			continue
		}
		if g.names == nil {
			g.names = make(map[string][]givenAddr)
		}
		if _, known := g.names[name]; !known && len(g.names) >= g.most {
			g.makeRoom(now)
		}
		g.names[name] = remember(g.names[name], givenAddr{addr, now.Add(time.Duration(rr.Header().Ttl)*time.Second + givenGrace)}, now)
	}
}

// remember puts an address in the place of itself, of one that has expired, or of
// the one that expires first.
func remember(list []givenAddr, one givenAddr, now time.Time) []givenAddr {
	first := 0
	for i := range list {
		if list[i].addr == one.addr {
			if one.until.After(list[i].until) {
				list[i].until = one.until
			}
			return list
		}
		if list[i].until.Before(list[first].until) {
			first = i
		}
	}
	if len(list) > 0 && (len(list) >= givenEach || !now.Before(list[first].until)) {
		list[first] = one
		return list
	}
	return append(list, one)
}

// makeRoom drops names whose answers have all expired, else the one whose do first.
func (g *given) makeRoom(now time.Time) {
	var soonest string
	var soonestUntil time.Time
	for name, list := range g.names {
		last := list[0].until
		for _, a := range list {
			if a.until.After(last) {
				last = a.until
			}
		}
		switch {
		case !now.Before(last):
			delete(g.names, name)
		case soonest == "" || last.Before(soonestUntil):
			soonest, soonestUntil = name, last
		}
	}
	if len(g.names) >= g.most {
		delete(g.names, soonest)
	}
}

func (g *given) has(name string, addr netip.Addr, now time.Time) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, a := range g.names[name] {
		if a.addr == addr.Unmap() {
			return now.Before(a.until)
		}
	}
	return false
}
