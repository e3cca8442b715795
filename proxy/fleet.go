package proxy

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// fleet is the targets that one choice is between: a cluster's endpoints, or the addresses
// of one name. It never changes; when its addresses do, another takes its place.
type fleet struct {
	members  []member
	weighted bool  // their weights differ
	mixed    bool  // there are IPv4 and IPv6 addresses
	plain    bool  // no family comes before another: all are written out
	err      error // why it is empty

	from []source // what it was made of
}

// member is a target of a fleet.
type member struct {
	*target
	addr    netip.AddrPort
	weight  uint32
	four    bool
	only    bool // its name has no address of the other family
	written bool // it is an address in the configuration, not one that DNS gave
}

// source is a name's addresses, or one that is written, for one port.
type source struct {
	written netip.Addr // zero: a name's
	name    string
	addrs   []netip.Addr
	port    uint16
	weight  uint32
}

// of says that a fleet was made of these sources. What is written is the same for all
// of an upstream's clusters, and so is the number of names.
func (f *fleet) of(from []source) bool {
	if f == nil {
		return false
	}
	for i := range from {
		a, b := f.from[i].addrs, from[i].addrs
		if len(a) != len(b) || len(a) > 0 && &a[0] != &b[0] && !slices.Equal(a, b) {
			return false
		}
	}
	return true
}

// newFleet leaves out the addresses that DNS may not lead to.
func (u *upstream) newFleet(c *mesh.Cluster, from []source) *fleet {
	f := &fleet{from: slices.Clone(from), plain: true}
	four, six := false, false
	for _, src := range from {
		own4, own6 := false, false
		first := len(f.members)
		add := func(addr netip.Addr, written bool) {
			own4, own6 = own4 || addr.Is4(), own6 || !addr.Is4()
			at := netip.AddrPortFrom(addr, src.port)
			f.members = append(f.members, member{target: u.target(at), addr: at, weight: src.weight, four: addr.Is4(), written: written})
			f.weighted = f.weighted || src.weight != f.members[0].weight
		}
		if src.written.IsValid() {
			add(src.written, !c.EitherFamily)
			continue
		}
		f.plain = false
		for _, addr := range src.addrs {
			if !u.server.unsafe(c, addr) {
				add(addr, false)
			} else if f.err == nil {
				f.err = unsafeError(src.name, addr)
			}
		}
		for i := first; i < len(f.members); i++ {
			f.members[i].only = !(own4 && own6)
		}
		four, six = four || own4, six || own6
	}
	f.mixed = four && six
	if len(f.members) > 0 {
		f.err = nil
	} else if f.err == nil {
		f.err = errNoEndpoint
	}
	return f
}

// pick chooses a target for one attempt: first among those of the family that the
// application chose, which is known to work from there, then among the others. One that
// was tried in vain comes again only when all were, and one that is ejected at the given
// time (0: none is) never. nil is none.
func (f *fleet) pick(s *Server, c *mesh.Cluster, at int64, a *asked, draw uint32) *member {
	if len(f.members) == 1 && at == 0 {
		return &f.members[0]
	}
	r := rank{at: at, four: a.dst.Addr().Is4(), six: !f.mixed || f.plain || s.ipv6.yes(time.Now())}
	r.four = r.four || !r.six
	usual := f.plain && !c.EitherFamily && len(a.tried) == 0 && at == 0 // all take part
	for ; r.n < ranks; r.n++ {
		if i := f.among(c, usual, r, a, draw); i >= 0 {
			return &f.members[i]
		}
	}
	return nil
}

// among chooses from the members of one rank, or from all; -1 is none.
func (f *fleet) among(cluster *mesh.Cluster, all bool, r rank, a *asked, draw uint32) int {
	c := choice{n: len(f.members), active: func(i int) int32 { return f.members[i].active.Load() }}
	if f.weighted {
		c.weight = func(i int) uint32 { return f.members[i].weight }
	}
	if !all {
		c.wanted = func(i int) bool { return r.has(&f.members[i], a) }
	}
	if cluster.Resolution == mesh.ResolveDNSRoundRobin {
		return c.first()
	}
	return c.pick(cluster.Balance, draw)
}

// rank is one of the steps in which a choice becomes less particular.
type rank struct {
	n         int
	four, six bool // IPv4 is the family to prefer; IPv6 is of use
	at        int64
}

const ranks = 4

func (r rank) has(m *member, a *asked) bool {
	if r.at != 0 && m.ejected(r.at) || r.n < 2 && slices.Contains(a.tried, m.addr) {
		return false
	}
	ofUse := m.written || m.four || r.six
	return ofUse && (r.n%2 == 1 || m.written || m.only || m.four == r.four)
}

// fleets are the fleets of an upstream: one, or below a wildcard one for each name.
type fleets struct {
	one      atomic.Pointer[fleet]
	building sync.Mutex // while one is made whose targets are not listed yet

	mu     sync.RWMutex
	byName map[string]*fleet
}

// maxFleets bounds the names below a wildcard whose targets are known; beyond it all are
// found anew, with what is known of their targets.
const maxFleets = 1024

func (x *fleets) get(name string) *fleet {
	if name == "" {
		return x.one.Load()
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byName[name]
}

func (x *fleets) set(name string, f *fleet) {
	if name == "" {
		x.one.Store(f)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.byName) >= maxFleets {
		clear(x.byName)
	}
	if x.byName == nil {
		x.byName = map[string]*fleet{}
	}
	x.byName[name] = f
}

func (x *fleets) each(do func(*fleet)) {
	if f := x.one.Load(); f != nil {
		do(f)
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, f := range x.byName {
		do(f)
	}
}
