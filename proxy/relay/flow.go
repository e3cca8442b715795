package relay

import (
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// flow is one direction of a pair.
//
//	open ── end or error read ──▶ ended ── everything before it passed on ──▶ over
//	  └──────────────── the other side failed: bytes are lost ───────────────────┘
type flow struct {
	moved int64  // passed on
	left  []byte // read, and not taken by the other side yet
	pipe  *pipe  // lent while bytes are in it
	ended bool
	over  bool

	bulk   bool // more than a read takes was waiting: splice
	narrow int  // how often in a row a splice brought little
	copies bool // this kind of socket does not splice
}

// A splice that brings less than narrowBytes costs more than a read and a write
// would; narrowRuns of them in a row end bulk.
const (
	narrowBytes = 16 << 10
	narrowRuns  = 8
)

// peekSize is what is looked at when no more bytes may be kept in memory.
const peekSize = 16 << 10

// move does what can be done for flow i, within budget, and says whether that
// was anything.
func (p *Pair) move(i int, budget *int) (did bool) {
	f, from, to := &p.flows[i], &p.sides[i], &p.sides[1-i]
	for ; !f.over && *budget > 0; did = true {
		holds := f.left != nil || f.pipe != nil
		switch {
		case to.failed:
			p.lose(f)
			f.over = true
		case holds && !to.writable:
			return did
		case holds:
			p.flush(i)
		case f.ended:
			p.passEnd(i)
		case !from.readable || !to.writable:
			return did
		default:
			p.fetch(i, budget)
		}
	}
	return did
}

// fetch reads what fits into one turn and passes it on.
func (p *Pair) fetch(i int, budget *int) {
	f, from, l := &p.flows[i], &p.sides[i], p.loop
	if f.bulk && p.fetchBulk(i, budget) {
		return
	}
	if l.engine.buffered.Load() >= l.engine.cfg.MaxBuffered {
		p.fetchPeeked(i, budget)
		return
	}
	n, errno := nowait.Recv(from.fd, l.scratch, 0)
	if !p.got(i, n, errno) {
		return
	}
	*budget -= n
	full := n == len(l.scratch)
	if !full && !from.more {
		from.readable = false
	}
	f.bulk = full && !f.copies
	p.send(i, l.scratch[:n])
}

// got deals with a read that brought nothing.
func (p *Pair) got(i, n int, errno unix.Errno) bool {
	f, from := &p.flows[i], &p.sides[i]
	switch {
	case errno == unix.EAGAIN:
		from.readable, from.more = false, false
	case errno != 0:
		f.ended = true
		p.fail(i, errno)
	case n == 0:
		f.ended = true
	default:
		return true
	}
	return false
}

// fetchPeeked takes out of the socket only what the other side has taken.
func (p *Pair) fetchPeeked(i int, budget *int) {
	f, from, to := &p.flows[i], &p.sides[i], &p.sides[1-i]
	b := p.loop.scratch[:peekSize]
	n, errno := nowait.Recv(from.fd, b, unix.MSG_PEEK)
	if !p.got(i, n, errno) {
		return
	}
	sent, errno := nowait.Send(to.fd, b[:n])
	switch {
	case errno == unix.EAGAIN:
		p.blocked(1 - i)
		return
	case errno != 0:
		p.fail(1-i, errno)
		return
	case sent < n:
		p.blocked(1 - i)
	}
	f.moved += int64(sent)
	*budget -= sent
	for taken := 0; taken < sent; {
		n, errno := nowait.Drop(from.fd, sent-taken)
		if !p.got(i, n, errno) {
			return
		}
		taken += n
	}
	if sent == n && n < len(b) && !from.more {
		from.readable = false
	}
}

// fetchBulk moves pages through a pipe. It reports false where a read must be
// made instead.
func (p *Pair) fetchBulk(i int, budget *int) bool {
	f, from, l := &p.flows[i], &p.sides[i], p.loop
	pipe := l.lend()
	if pipe == nil {
		f.bulk = false
		return false
	}
	n, errno := nowait.Splice(from.fd, pipe.w, pipe.size)
	if n <= 0 || errno != 0 {
		l.giveBack(pipe)
		switch errno {
		case 0, unix.ENOMEM: // an end, or urgent data at the front: a read tells
			f.bulk = false
			return false
		case unix.EINVAL:
			f.bulk, f.copies = false, true
			return false
		}
		p.got(i, n, errno)
		return true
	}
	*budget -= n
	f.pipe, pipe.n = pipe, n
	f.narrow++
	if n >= narrowBytes {
		f.narrow = 0
	}
	f.bulk = f.narrow < narrowRuns
	p.flush(i)
	return true
}

// flush passes on what is held of flow i.
func (p *Pair) flush(i int) {
	f, to := &p.flows[i], &p.sides[1-i]
	if f.left != nil {
		rest := f.left
		p.lose(f)
		p.send(i, rest)
		return
	}
	for f.pipe.n > 0 {
		n, errno := nowait.Splice(f.pipe.r, to.fd, f.pipe.n)
		switch {
		case errno == unix.EAGAIN:
			p.blocked(1 - i)
			return
		case errno != 0 || n == 0:
			p.fail(1-i, errno)
			return
		}
		f.pipe.n -= n
		f.moved += int64(n)
	}
	p.loop.giveBack(f.pipe)
	f.pipe = nil
}

// send passes b on and keeps what the other side does not take.
func (p *Pair) send(i int, b []byte) {
	f, e := &p.flows[i], p.loop.engine
	n, errno := nowait.Send(p.sides[1-i].fd, b)
	switch {
	case errno == unix.EAGAIN:
		n = 0
	case errno != 0:
		p.fail(1-i, errno)
		return
	}
	f.moved += int64(n)
	if n < len(b) {
		f.left = append([]byte(nil), b[n:]...)
		e.buffered.Add(int64(len(f.left)))
		p.blocked(1 - i)
	}
}

// blocked waits for side j to take bytes again. The kernel reports that once
// after each write that did not fit.
func (p *Pair) blocked(j int) {
	s := &p.sides[j]
	s.writable = false
	if s.armed {
		return
	}
	event := unix.EpollEvent{Events: watched | unix.EPOLLOUT, Fd: int32(s.fd)}
	if err := unix.EpollCtl(p.loop.epoll, unix.EPOLL_CTL_MOD, s.fd, &event); err != nil {
		p.fail(j, 0)
		return
	}
	s.armed = true
}

// fail notes that side j was lost. What it sent before may still be read.
func (p *Pair) fail(j int, errno unix.Errno) {
	s := &p.sides[j]
	if s.failed {
		return
	}
	s.failed, s.readable, s.more = true, true, true
	if p.result.End == BothEnded {
		p.result.End, p.result.Errno = AFailed+End(j), errno
	}
}

// passEnd passes on the end of flow i; that of a side that failed is a reset,
// which settle makes.
func (p *Pair) passEnd(i int) {
	p.flows[i].over = true
	if !p.sides[i].failed && !p.flows[1-i].over { // else closing the socket says so
		nowait.Shutdown(p.sides[1-i].fd) // ENOTCONN: it is gone, an event tells
	}
}

// lose drops what a flow holds.
func (p *Pair) lose(f *flow) {
	e := p.loop.engine
	if f.pipe != nil {
		e.discard(f.pipe)
		f.pipe = nil
	}
	e.buffered.Add(-int64(len(f.left)))
	f.left = nil
}
