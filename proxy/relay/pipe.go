package relay

import (
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// pipe is where the kernel keeps pages between two sockets.
type pipe struct {
	r, w int
	size int // what it holds at the most
	n    int // what it holds
}

// A pipe of pipeSize bytes moves as much with one pair of calls. An unprivileged
// user past pipe-user-pages-soft gets smaller ones; those below minPipeSize cost
// more calls than they save copies.
const (
	pipeSize    = 1 << 20
	minPipeSize = 64 << 10
)

// lend returns an empty pipe, nil where none is to be had: the limit is reached,
// or the process has no descriptors left.
func (l *loop) lend() *pipe {
	if n := len(l.free); n > 0 {
		p := l.free[n-1]
		l.free = l.free[:n-1]
		return p
	}
	e := l.engine
	if e.pipes.Add(1) > int64(e.cfg.MaxPipes) {
		e.pipes.Add(-1)
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		e.pipes.Add(-1)
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize)
	p.size, _ = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
	if p.size < minPipeSize {
		e.discard(p)
		return nil
	}
	return p
}

// keptPipes are the empty pipes a loop keeps: a busy one needs one at a time,
// more only while receivers are slow.
const keptPipes = 4

// giveBack takes an empty pipe.
func (l *loop) giveBack(p *pipe) {
	if len(l.free) >= keptPipes {
		l.engine.discard(p)
		return
	}
	l.free = append(l.free, p)
}

// discard closes a pipe with whatever is in it.
func (e *Engine) discard(p *pipe) {
	nowait.Close(p.r)
	nowait.Close(p.w)
	e.pipes.Add(-1)
}
