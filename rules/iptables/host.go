package iptables

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// host is whose files the programs are among.
type host struct {
	mounts *os.File // a mount namespace; nil: this process's own
}

// programsOf is the host of what Find looks for.
var programsOf atomic.Pointer[host]

// UseProgramsOf has Find look for programs in another mount namespace, and what it finds
// run there: for a container, which has none, with the node's, /proc/1/ns/mnt where it
// shares the node's PID namespace. The node's lock (/run/xtables.lock) and modules are
// theirs then, too. It is for the whole process; mounts stays open. To enter takes
// CAP_SYS_ADMIN and CAP_SYS_CHROOT: without, the programs count as not installed there.
func UseProgramsOf(mounts *os.File) { programsOf.Store(&host{mounts}) }

func currentHost() host {
	if h := programsOf.Load(); h != nil {
		return *h
	}
	return host{}
}

// there calls f with the host's files, in the network namespace of the calling thread. What
// f starts is there too.
func (h host) there(f func() error) error {
	if h.mounts == nil {
		return f()
	}
	network, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("find the own network namespace: %w", err)
	}
	defer network.Close()
	return besideMainThread(func() error {
		if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", permission(err))
		}
		// Who shares a working directory with other threads may not go.
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(h.mounts.Fd()), unix.CLONE_NEWNS)
		}
		if err != nil {
			return unusable("the node's programs cannot be reached from here: %w; the container needs CAP_SYS_ADMIN and CAP_SYS_CHROOT", err)
		}
		return f()
	})
}

// besideMainThread is onOwnThread on any thread but the first: that one does not end with
// its goroutine, and what it sees is what /proc/self shows of the process.
func besideMainThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f() // never unlocked: the thread ends with the goroutine
			return
		}
		done <- besideMainThread(f) // this thread is taken meanwhile
		runtime.UnlockOSThread()
	}()
	return <-done
}
