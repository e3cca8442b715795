package holder

import (
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
)

// refuser resets what comes to pods of which no agent takes care any more. In a
// listener's queue connecting and sending succeed, so that an application would wait
// for ever for its answer. One goroutine does it for all, and only while there are any.
type refuser struct {
	log *slog.Logger

	mu      sync.Mutex
	epoll   int
	wake    int // an eventfd: end
	refused map[core.Bundle]*bundle
	streams map[int]bool // by descriptor: a listener, else a packet socket
	// spare is given up to reset a connection when there are no descriptors left.
	spare int
	work  sync.WaitGroup
}

const acceptsInATurn = 64

func newRefuser(log *slog.Logger) *refuser {
	return &refuser{log: log, epoll: -1, wake: -1, spare: -1, refused: map[core.Bundle]*bundle{}, streams: map[int]bool{}}
}

// refuse begins; the bundle is one that the caller has used for it.
func (r *refuser) refuse(id core.Bundle, b *bundle) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoll < 0 {
		if err := r.begin(); err != nil {
			return err
		}
	}
	r.refused[id] = b
	if b.broken() {
		return nil
	}
	for i, s := range b.sockets {
		fd := b.fds[i]
		r.streams[fd] = networks[s.Network].typ == unix.SOCK_STREAM
		if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
	}
	return nil
}

// wait ends it: when it returns nothing more is accepted. It says whether there was
// anything to end.
func (r *refuser) wait(id core.Bundle) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.refused[id]
	if b == nil {
		return false
	}
	delete(r.refused, id)
	for i := range b.fds[:len(b.fds)-1] {
		// Others have the socket too: closing ours would leave it watched.
		unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, b.fds[i], nil)
		delete(r.streams, b.fds[i])
	}
	return true
}

func (r *refuser) begin() (err error) {
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if r.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, r.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(r.wake)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	r.openSpare()
	r.work.Go(r.run)
	return nil
}

func (r *refuser) openSpare() {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		fd = -1
	}
	r.spare = fd
}

func (r *refuser) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			r.log.Error("connections cannot be refused any more", "error", err)
			return
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == r.wake {
				return
			}
			r.turn(int(e.Fd))
		}
	}
}

// turn resets what waits at one socket, a part of it: the others' turn comes too.
func (r *refuser) turn(fd int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stream, still := r.streams[fd]
	for i := 0; still && i < acceptsInATurn; i++ {
		if !stream {
			if _, _, err := unix.Recvfrom(fd, nil, unix.MSG_DONTWAIT); err != nil {
				return
			}
			continue
		}
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if (err == unix.EMFILE || err == unix.ENFILE) && r.spare >= 0 {
			unix.Close(r.spare)
			c, _, err = unix.Accept4(fd, unix.SOCK_CLOEXEC)
			defer r.openSpare()
			i = acceptsInATurn
		}
		if err != nil {
			return
		}
		unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(c)
	}
}

// end stops the goroutine, and waits for it.
func (r *refuser) end() {
	r.mu.Lock()
	begun := r.epoll >= 0
	r.mu.Unlock()
	if !begun {
		return
	}
	unix.Write(r.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	r.work.Wait()
	closeAll([]int{r.epoll, r.wake})
	if r.spare >= 0 {
		unix.Close(r.spare)
	}
}
