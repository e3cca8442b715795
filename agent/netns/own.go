package netns

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/wire"
)

// home is the namespace of this process, to which every thread comes back.
type home struct {
	fd int
	id wire.Netns
}

// own opens it once, and keeps it open for as long as the process lives. The calling
// thread's is meant, not /proc/self's: the process's first thread may be in a pod just
// now, for somebody else. What failed, for want of descriptors say, is tried again.
func own() (home, error) {
	if known := opened.Load(); known != nil {
		return *known, nil
	}
	opening.Lock()
	defer opening.Unlock()
	if known := opened.Load(); known != nil {
		return *known, nil
	}
	const path = "/proc/thread-self/ns/net"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return home{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	id, err := identify(fd)
	if err != nil {
		unix.Close(fd)
		return home{}, err
	}
	h := home{fd, id}
	opened.Store(&h)
	return h, nil
}

var (
	opened  atomic.Pointer[home]
	opening sync.Mutex
)

// enter brings the thread back. Where that cannot be, the process ends: another
// goroutine would go on in a pod, and do there what is meant for the host. The holder
// has all sockets, and the next agent goes on.
func (h home) enter() {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETNS, uintptr(h.fd), unix.CLONE_NEWNET, 0); errno != 0 {
		fmt.Fprintf(os.Stderr, "netns: the thread cannot leave a pod's namespace: setns: %v; ending\n", errno)
		os.Exit(1)
	}
}
