// Package lab builds throwaway networks out of Linux network namespaces: hosts,
// the cables between them, and commands that run in them. The tests and the demo
// stand on it. It changes nothing in the namespace it was started in, save that
// Connect and friends create links in the namespaces they are given.
//
//	pod, _ := lab.New()
//	defer pod.Close()
//	pod.Do(func() error { _, err := net.Listen("tcp", "127.0.0.1:80"); return err })
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is one network namespace, kept alive by an open descriptor and, when
// it has a Path, by a bind mount. Close ends both; processes still inside keep
// the namespace itself alive.
type Namespace struct {
	handle netns.NsHandle
	path   string
}

// The main goroutine keeps the main thread to itself, in every program that uses this
// package. A goroutine of onOwnThread takes its thread with it when it ends, but the main
// thread cannot end: one that ran there would leave it in a namespace, where the process
// would seem to live, for as long as the process does.
func init() { runtime.LockOSThread() }

// New makes an anonymous namespace with its loopback up. It lives until Close or
// the end of the process, so a crash leaves nothing behind.
func New() (*Namespace, error) {
	var n *Namespace
	err := onOwnThread(func() error {
		h, err := netns.New()
		if err != nil {
			return fmt.Errorf("create a network namespace: %w (needs CAP_SYS_ADMIN)", err)
		}
		n = &Namespace{handle: h}
		return loopbackUp()
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// NewAt is New, also bound to the file path so that other programs (CNI plugins,
// ip netns) can open it. The file and its folder are created.
func NewAt(path string) (*Namespace, error) {
	n, err := New()
	if err != nil {
		return nil, err
	}
	if err := bind(n.FDPath(), path); err != nil {
		n.Close()
		return nil, err
	}
	n.path = path
	return n, nil
}

// Current is the namespace of the calling thread.
func Current() (*Namespace, error) {
	// The thread that is asked about must not meanwhile be taken into another namespace
	// by somebody else's goroutine.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	h, err := netns.Get()
	if err != nil {
		return nil, err
	}
	return &Namespace{handle: h}, nil
}

// Open opens the namespace at path. Close does not unmount it.
func Open(path string) (*Namespace, error) {
	h, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	return &Namespace{handle: h}, nil
}

// Close releases the namespace; a second call does nothing.
func (n *Namespace) Close() error {
	var err error
	if n.path != "" {
		err = errors.Join(unix.Unmount(n.path, unix.MNT_DETACH), os.Remove(n.path))
		n.path = ""
	}
	if n.handle.IsOpen() {
		err = errors.Join(err, n.handle.Close())
	}
	return err
}

// FD is the open descriptor of the namespace, valid until Close.
func (n *Namespace) FD() int { return int(n.handle) }

// FDPath names the namespace for a program started by this process, as long as
// this process lives.
func (n *Namespace) FDPath() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.handle))
}

// Path is the file the namespace is bound to, "" for an anonymous one.
func (n *Namespace) Path() string { return n.path }

// Do runs f on a thread inside the namespace and returns its error. Goroutines
// that f starts are not inside; sockets and processes that it makes are.
func (n *Namespace) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// Listen opens a TCP listener inside the namespace.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() error { l, err = net.Listen(network, address); return err })
	return l, err
}

// ListenPacket opens a UDP socket inside the namespace.
func (n *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.Do(func() error { c, err = net.ListenPacket(network, address); return err })
	return c, err
}

// Dial connects from inside the namespace. The address must be numeric, and only
// one is tried, so that the socket is made on the thread that is inside.
func (n *Namespace) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	if host, _, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %q inside a namespace: needs a numeric address and a port", address)
	}
	err = n.Do(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Start starts cmd inside the namespace; the caller waits for it. The command
// dies with this process.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	return n.Do(cmd.Start)
}

// onOwnThread runs f on a locked thread that ends with it, so that whatever
// namespace f left the thread in reaches no other goroutine.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		finished := false
		defer func() {
			if !finished { // runtime.Goexit inside f, as t.FailNow does
				err = errors.New("the function left the namespace early")
			}
			done <- err
		}()
		err = f()
		finished = true
	}()
	return <-done
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	return nil
}

func bind(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount(from, to, "none", unix.MS_BIND, ""); err != nil {
		os.Remove(to)
		return fmt.Errorf("bind the namespace to %s: %w", to, err)
	}
	return nil
}
