package relay

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// A reset overtakes bytes that wait in a socket to be acknowledged and destroys
// them. So it is held back until they are, for lingerTime at the most.
const (
	lingerStep = 5 * time.Millisecond
	lingerTime = 2 * time.Second
)

// settle ends the pair when both directions are over, or when one side failed
// and all that it had sent has been passed on.
func (p *Pair) settle() {
	for j := range p.sides {
		if p.sides[j].failed && p.flows[j].over {
			p.carryReset(j)
			return
		}
	}
	if p.flows[0].over && p.flows[1].over {
		p.close(nowait.Close)
	}
}

// carryReset resets the side opposite j, after what is on its way to it.
func (p *Pair) carryReset(j int) {
	other := &p.sides[1-j]
	if other.failed || unacknowledged(other.fd) == 0 {
		p.close(nowait.Reset)
		return
	}
	end := clock() + lingerTime
	p.linger = time.AfterFunc(lingerStep, func() { p.lingered(other.fd, end) })
}

func (p *Pair) lingered(fd int, end time.Duration) {
	p.mu.Lock()
	switch {
	case p.over:
	case clock() < end && unacknowledged(fd) > 0:
		p.linger.Reset(lingerStep)
	default:
		p.close(nowait.Reset)
	}
	p.unlock()
}

// unacknowledged is how many bytes of a socket its peer's kernel does not have yet.
func unacknowledged(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// Cut resets both sides, unless the pair has ended. What was on its way is lost.
func (p *Pair) Cut() {
	p.mu.Lock()
	p.abort(WasCut)
	p.unlock()
}

// expire cuts a pair over which nothing has moved for limit.
func (p *Pair) expire(now, limit time.Duration) {
	p.mu.Lock()
	own := p.bound != nil && p.bound.Idle != 0
	if now-p.active >= limit && p.linger == nil && !own {
		p.abort(IdleTimeout)
	}
	p.unlock()
}

func (p *Pair) abort(why End) {
	if p.over {
		return
	}
	if p.linger == nil { // else it has ended already, and why is known
		p.result.End = why
	} else {
		p.linger.Stop()
	}
	p.close(nowait.Reset)
}

// close ends both sockets; unlock tells of it.
func (p *Pair) close(end func(int)) {
	p.over = true
	p.bound.stop()
	for i := range p.sides {
		fd := p.sides[i].fd
		p.lose(&p.flows[i])
		p.result.Moved[i] = p.flows[i].moved
		p.loop.pairs.drop(fd, p) // first: the number may be another socket's at once
		end(fd)                  // leaves epoll too
	}
}
