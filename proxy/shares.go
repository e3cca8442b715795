package proxy

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
)

// Totals are what all Servers of a Shares may hold together. A zero field is its
// default.
type Totals struct {
	// Descriptors are what the Servers may open; default what this process may, less a
	// reserve (512, or a quarter). A connection of an application takes one, and one to a
	// server another.
	Descriptors int
	// Fixed are the descriptors that each Server's pod takes of them besides, as long as
	// it has its Share: listeners, its namespace, DNS, and two for questions to resolvers
	// (Share.Ask). Default 10.
	Fixed int
	// Memory is for what Limits.Memory and Limits.Bodies bound, in bytes; default 256 MiB.
	Memory int64
}

const (
	defaultSharedMemory = 256 << 20
	defaultFixed        = 10
	// questions of a Server's pod are asked at once whatever else it, or others, have open.
	questions = 2
	// guaranteed is the part of a total that is kept for those who have little.
	guaranteed = 4
)

// Shares divide what a process has among its Servers, so that none can take what
// another needs: a quarter of each total is divided evenly, and of that every Server
// finds its part however much others hold. What is beyond is for whoever comes first.
type Shares struct {
	descriptors, memory pot
	spare               *spare

	mu      sync.Mutex
	members map[*Share]struct{}
}

// NewShares begins with nobody.
func NewShares(t Totals) *Shares {
	if t.Descriptors == 0 {
		n := descriptorLimit()
		t.Descriptors = n - min(reserve, n/4)
	}
	x := &Shares{spare: newSpare(), members: map[*Share]struct{}{}}
	x.descriptors = pot{all: int64(t.Descriptors), fixed: int64(cmp.Or(t.Fixed, defaultFixed))}
	x.memory = pot{all: cmp.Or(t.Memory, defaultSharedMemory)}
	x.divide()
	return x
}

// Join is the share of one more Server. Those of all get smaller; who holds more than
// its new part keeps it.
func (x *Shares) Join() *Share {
	s := &Share{of: x, asking: make(chan struct{}, questions)}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.members[s] = struct{}{}
	x.divide()
	return s
}

// Leave ends the share, when its Server's Serve has returned.
func (s *Share) Leave() {
	x := s.of
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.members, s)
	x.divide()
}

// divide settles everybody's part anew. The caller holds x.mu.
func (x *Shares) divide() {
	x.descriptors.divide(len(x.members), func(yield func(*portion)) {
		for s := range x.members {
			yield(&s.descriptors)
		}
	})
	x.memory.divide(len(x.members), func(yield func(*portion)) {
		for s := range x.members {
			yield(&s.memory)
		}
	})
}

// Share is one Server's part of a Shares: Limits.Share.
type Share struct {
	of                  *Shares
	descriptors, memory portion
	server              atomic.Pointer[Server]
	asking              chan struct{} // has one for each question that Ask let through by itself
}

// Ask takes a descriptor for a question to a resolver. A few are the pod's for nothing
// else, so that names are found, one after the other, though all of its share is in use:
// where no more are to be had Ask waits for those, until ctx ends, and then reports false.
// giveBack ends what it began.
func (s *Share) Ask(ctx context.Context) (giveBack func(), ok bool) {
	own := func() { <-s.asking }
	select {
	case s.asking <- struct{}{}:
		return own, true
	default:
	}
	if s.ofDescriptors().take(1) {
		return s.GiveBack, true
	}
	select {
	case s.asking <- struct{}{}:
		return own, true
	case <-ctx.Done():
		return nil, false
	}
}

// Take takes a descriptor for what a pod has open that is no connection of its Server's,
// as one over which it asks for names. Idle connections of the Server's to servers give way. It reports false
// where none is to be had, or ctx ends.
func (s *Share) Take(ctx context.Context) bool {
	c := s.ofDescriptors()
	if c.take(1) {
		return true
	}
	server := s.server.Load()
	if server == nil || server.pools.crowd.open.Load() == 0 {
		return false
	}
	server.pools.crowd.relieve(ctx)
	return c.take(1)
}

// GiveBack ends what Take began.
func (s *Share) GiveBack() { s.ofDescriptors().giveBack(1) }

func (s *Share) ofDescriptors() claim { return claim{&s.of.descriptors, &s.descriptors} }

// Usage is what is held.
type Usage struct {
	Connections int   `json:"connections"` // of applications, to servers and for DNS
	Memory      int64 `json:"memory"`      // bytes
}

// Usage is what all hold together, and how much that may be.
func (x *Shares) Usage() (held, most Usage) {
	return Usage{int(x.descriptors.held()), x.memory.held()}, Usage{int(x.descriptors.most()), x.memory.most()}
}

// Usage is what the Server holds, and how much it may hold whatever others do.
func (s *Share) Usage() (held, sure Usage) {
	connections, ofConnections := s.of.descriptors.heldBy(&s.descriptors)
	memory, ofMemory := s.of.memory.heldBy(&s.memory)
	return Usage{int(connections), memory}, Usage{int(ofConnections), ofMemory}
}

// pot is an amount of which each portion has a part for sure.
type pot struct {
	all, fixed int64 // fixed of it is not to be had, for each portion there is

	mu    sync.Mutex
	total int64 // to be had
	used  int64
	each  int64 // of it is every portion's for sure
	owed  int64 // what portions lack of that: nobody else may have it
}

// portion is one member's part of a pot, whose lock guards it.
type portion struct{ used int64 }

// claim is a portion with its pot. The zero claim gets whatever it asks for.
type claim struct {
	from *pot
	of   *portion
}

func (c claim) take(n int64) bool { return c.from == nil || c.from.take(c.of, n) }

func (c claim) giveBack(n int64) {
	if c.from != nil {
		c.from.giveBack(c.of, n)
	}
}

// take reports false, and takes nothing, where n cannot be had: beyond its part a
// portion only gets what is nobody's.
func (p *pot) take(of *portion, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	owed := p.owed - p.lacks(of.used) + p.lacks(of.used+n)
	if p.used+n > p.total || of.used+n > p.each && p.used+n+owed > p.total {
		return false
	}
	p.used, of.used, p.owed = p.used+n, of.used+n, owed
	return true
}

func (p *pot) giveBack(of *portion, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owed += p.lacks(of.used-n) - p.lacks(of.used)
	p.used, of.used = p.used-n, of.used-n
}

// lacks is what a portion that holds so much may still have for sure.
func (p *pot) lacks(used int64) int64 { return max(p.each-used, 0) }

// divide settles what each of n portions has for sure.
func (p *pot) divide(n int, portions func(yield func(*portion))) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = max(p.all-p.fixed*int64(n), 0)
	p.each, p.owed = p.total/guaranteed/int64(max(n, 1)), 0
	portions(func(one *portion) { p.owed += p.lacks(one.used) })
}

func (p *pot) held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

func (p *pot) most() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

func (p *pot) heldBy(one *portion) (used, each int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return one.used, p.each
}

// mayConnect takes what a connection to a server needs: a place among those that are
// being made, which the caller gives back, and one of the share's descriptors, which is
// given back at the connection's end. Connections of ours that are idle give way; w is
// told before that is waited for.
func (s *Server) mayConnect(ctx context.Context, w waiter) error {
	if !s.connects.take(1) {
		return tooManyConnects
	}
	if s.descriptors.take(1) {
		return nil
	}
	w.mayWait()
	s.pools.crowd.relieve(ctx)
	if s.descriptors.take(1) {
		return nil
	}
	s.connects.giveBack(1)
	return noShare
}
