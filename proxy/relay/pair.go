package relay

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Pair is two sockets whose bytes go to each other.
type Pair struct {
	loop *loop
	done func(Result)

	mu     sync.Mutex // nearly always the loop's
	sides  [2]side
	flows  [2]flow       // flows[i] goes from sides[i] to the other
	active time.Duration // when a byte last moved
	queued bool          // in loop.again
	over   bool          // both sockets are closed
	told   bool          // done has been called
	bound  *bound        // nil: the engine's only
	linger *time.Timer   // set while a reset waits for bytes before it
	result Result
}

// side is one socket. What it can do is known from events (which epoll reports
// once) and from calls that would have waited.
type side struct {
	fd       int
	readable bool
	writable bool
	more     bool // an end, an error or urgent data is there: a short read is not the last
	armed    bool // epoll reports when it becomes writable
	failed   bool // reset, timed out: nothing can be sent to it
}

// Result is how a pair ended.
type Result struct {
	Moved [2]int64 // bytes that went from a to b, and from b to a
	End   End
	Errno unix.Errno // of the side that failed, where the kernel told one
}

// End is why a pair ended.
type End uint8

// Reasons for an end.
const (
	BothEnded End = iota // each side ended its direction
	AFailed              // side a was reset or timed out; b has been reset
	BFailed
	IdleTimeout // no byte moved for Config.IdleTimeout; both have been reset
	WasCut      // Cut or Close; both have been reset
	TooOld      // Bounds.Age was reached; both have been reset
)

const (
	watched  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	toldMore = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLPRI
)

// begin registers the pair and passes on what was read ahead.
func (p *Pair) begin(ahead ...[]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = clock()
	for i := range p.sides {
		s := &p.sides[i]
		s.writable = true // a new socket is; else the first write tells
		err := error(unix.EMFILE)
		if p.loop.pairs.put(s.fd, p) {
			err = p.loop.watch(s.fd, watched)
		}
		if err != nil {
			p.over, p.told = true, true
			p.forget(i)
			return err
		}
	}
	for i := range p.flows {
		if len(ahead[i]) > 0 {
			p.send(i, ahead[i])
		}
	}
	return nil
}

// forget takes the first n+1 sockets out of the loop and leaves them open.
func (p *Pair) forget(n int) {
	for i := range n + 1 {
		p.loop.unwatch(p.sides[i].fd)
		p.loop.pairs.drop(p.sides[i].fd, p)
	}
}

// event notes what epoll tells of a socket and moves what can be moved. An event
// may be of an older socket that had this number: it is a hint, never a fact.
func (p *Pair) event(fd int, events uint32) {
	p.mu.Lock()
	i := 0
	if p.sides[1].fd == fd {
		i = 1
	}
	s := &p.sides[i]
	if events&(unix.EPOLLIN|toldMore) != 0 {
		s.readable = true
	}
	if events&toldMore != 0 {
		s.more = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		s.writable = true
	}
	if events&unix.EPOLLERR != 0 && p.flows[i].ended {
		p.fail(i, 0) // no read is left that would find out
	}
	p.turn()
}

// resume goes on with a pair that had moved enough for one turn.
func (p *Pair) resume() {
	p.mu.Lock()
	p.queued = false
	p.turn()
}

// turnBytes are what a pair moves before the others have their turn.
const turnBytes = 1 << 20

// turn moves what can be moved, ends the pair when it is time, and unlocks it.
func (p *Pair) turn() {
	if !p.over && p.linger == nil {
		before, budget := p.flows[0].moved+p.flows[1].moved, turnBytes
		for did := true; did && budget > 0; {
			did = p.move(0, &budget)
			did = p.move(1, &budget) || did
		}
		if p.flows[0].moved+p.flows[1].moved != before {
			p.active = p.loop.now
		}
		if budget <= 0 && !p.queued {
			p.queued = true
			p.loop.again = append(p.loop.again, p)
		}
		p.settle()
	}
	p.unlock()
}

// unlock tells of the end, once, without holding the lock.
func (p *Pair) unlock() {
	tell := p.over && !p.told
	p.told = p.told || tell
	result := p.result
	p.mu.Unlock()
	if tell {
		p.done(result)
	}
}
