// Package netns makes sockets in other network namespaces, from any goroutine and
// without a process or a thread for each: the calling thread enters the namespace,
// makes the socket, and comes back. A socket belongs to the namespace of the thread
// that made it, for good.
//
//	n, err := netns.Open(file)
//	fd, err := n.Socket(unix.AF_INET, unix.SOCK_STREAM)
//	err = n.Do(func() error { … /proc/thread-self/net … })
//
// The namespace of the process itself, and the machine's, are never entered: see Open.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/wire"
)

// Errors of Open.
var (
	// ErrNotOne is a file that is no network namespace.
	ErrNotOne = errors.New("is no network namespace")
	// ErrHosts is the namespace of the machine, or of this process.
	ErrHosts = errors.New("is the host's own network namespace; no pod's")
)

// Namespace is a network namespace that is kept alive by an open file. Its methods may
// be called by many goroutines at a time.
type Namespace struct {
	id wire.Netns

	mu   sync.RWMutex // held to read while the descriptor is in use: its number is another file's once it is closed
	file *os.File     // nil after Close
	fd   int
}

// Open makes a Namespace of an open file, which is the Namespace's from then on, and is
// closed on error. The host's namespace is refused with ErrHosts: whatever would be done
// in it would be done to the whole machine.
func Open(f *os.File) (*Namespace, error) {
	n, err := open(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return n, nil
}

// OpenPath is Open of a path such as /run/netns/NAME or /proc/PID/ns/net. A path that
// is not there is fs.ErrNotExist; one that is no namespace (in a container, /run/netns
// without mount propagation has plain files) is ErrNotOne.
func OpenPath(path string) (*Namespace, error) {
	// Without O_NONBLOCK a path that is a pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	n, err := Open(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

func open(f *os.File) (*Namespace, error) {
	host, err := own()
	if err != nil {
		return nil, err
	}
	fd := int(f.Fd())
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return nil, ErrNotOne
	}
	id, err := identify(fd)
	if err != nil {
		return nil, err
	}
	if id == host.id {
		return nil, ErrHosts
	}
	// Where this process is in a namespace of its own, the machine's is another.
	if machine, err := At("/proc/1/ns/net"); err == nil && id == machine {
		return nil, ErrHosts
	}
	return &Namespace{id: id, file: f, fd: fd}, nil
}

// ID is what the namespace is known by: nsfs's device and inode, which name no other
// namespace as long as this one lives.
func (n *Namespace) ID() wire.Netns { return n.id }

// At is the identity of the namespace that a path leads to, without opening it. What it
// names may be gone, and the number another's, unless somebody keeps it open.
func At(path string) (wire.Netns, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return wire.Netns{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return wire.Netns{Device: st.Dev, Inode: st.Ino}, nil
}

// Bound is At for a file that a namespace is bound to. A plain file, as it is in a
// container that the mount does not reach, is ErrNotOne.
func Bound(path string) (wire.Netns, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return wire.Netns{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if fs.Type != unix.NSFS_MAGIC {
		return wire.Netns{}, fmt.Errorf("%s: %w", path, ErrNotOne)
	}
	return At(path)
}

// OfProcess is the identity of the namespace that a process is in.
func OfProcess(pid int) (wire.Netns, error) { return At(PathOf(pid)) }

// PathOf leads to the namespace of a process.
func PathOf(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }

func identify(fd int) (wire.Netns, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return wire.Netns{}, os.NewSyscallError("fstat", err)
	}
	return wire.Netns{Device: st.Dev, Inode: st.Ino}, nil
}

// Dup is another descriptor of the namespace, the caller's to close.
func (n *Namespace) Dup() (f *os.File, err error) {
	err = n.With(func(fd int) error {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		f = os.NewFile(uintptr(own), "netns")
		return nil
	})
	return f, err
}

// With lends the open descriptor to f, for what takes one (netlink). It is closed no
// sooner than f returns.
func (n *Namespace) With(f func(fd int) error) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.file == nil {
		return os.ErrClosed
	}
	return f(n.fd)
}

// Close ends the use of the namespace, after the calls that are under way. Sockets made
// in it live on. A second call does nothing.
func (n *Namespace) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		return nil
	}
	err := n.file.Close()
	n.file = nil
	return err
}

// Socket makes a socket in the namespace: non-blocking and close-on-exec, with the
// protocol that is domain's and typ's usual one. It takes about two microseconds and
// waits for nothing but Close, so it may be called on an event loop.
func (n *Namespace) Socket(domain, typ int) (int, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.file == nil {
		return -1, os.ErrClosed
	}
	host, err := own()
	if err != nil {
		return -1, err
	}
	runtime.LockOSThread()
	// Raw: none of these waits, and the scheduler need not be told.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETNS, uintptr(n.fd), unix.CLONE_NEWNET, 0); errno != 0 {
		runtime.UnlockOSThread()
		return -1, os.NewSyscallError("setns", errno)
	}
	fd, _, failed := unix.RawSyscall(unix.SYS_SOCKET, uintptr(domain), uintptr(typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), 0)
	host.enter()
	runtime.UnlockOSThread()
	if failed != 0 {
		return -1, os.NewSyscallError("socket", failed)
	}
	return int(fd), nil
}

// Do calls f on a thread that is inside the namespace, and comes back however f ends:
// by a panic too. Sockets that f makes, and /proc/thread-self/net, are the namespace's.
// Goroutines that f starts are not inside. f must start no process, which would be
// inside for good, and call no Do or Socket of another namespace.
func (n *Namespace) Do(f func() error) error {
	return n.With(func(fd int) error {
		host, err := own()
		if err != nil {
			return err
		}
		// Threads that Go needs meanwhile are not made from a locked one: none of them
		// begins its life in the namespace.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		defer host.enter()
		return f()
	})
}
