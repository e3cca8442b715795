package iptables

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/sluice-cni/sluice/internal/ownnetns"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// inside runs f on a thread that is in a namespace; programs that f starts are in
// it too. The thread ends with f.
func inside(netnsFD int, f func() error) error {
	return onOwnThread(func() error {
		if ownnetns.Is(netnsFD) {
			return f()
		}
		if err := unix.Setns(netnsFD, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", permission(err))
		}
		return f()
	})
}

// inScratch runs f on a thread in a network namespace made for it.
func inScratch(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace to compare with: %w", permission(err))
		}
		return f()
	})
}

func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

func permission(err error) error {
	if errors.Is(err, unix.EPERM) {
		return rules.ErrNotPermitted
	}
	return err
}

const (
	lockTime = 20 * time.Second
	lockTick = 5 * time.Millisecond
)

// lock takes the namespace for one change: between reading what is there and
// writing what should be, nobody else of us may write. The lock is on the
// namespace itself, so it needs no folder, and it ends with its last holder: the
// programs that write inherit it, so one whose parent was killed is waited for.
func lock(netnsFD int) (*os.File, error) {
	path := fmt.Sprintf("/proc/self/fd/%d", netnsFD)
	f, err := os.Open(path) // a descriptor of our own: a lock belongs to that
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	for begin := time.Now(); ; time.Sleep(lockTick) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Since(begin) > lockTime {
			f.Close()
			return nil, fmt.Errorf("lock the network namespace: %w; another sluice is changing its rules", err)
		}
	}
}

// haveIPv6 reports whether the kernel speaks IPv6 at all. Where it does not, there
// is nothing to capture, and ip6tables would fail.
func haveIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, unix.EAFNOSUPPORT)
	}
	unix.Close(fd)
	return true
}

func families() []family {
	if haveIPv6() {
		return []family{ipv4, ipv6}
	}
	return []family{ipv4}
}
