package holder

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/sockets"
	"github.com/sluice-cni/sluice/holder/wire"
)

// reopen opens a pod's sockets anew in its namespace: at their ports, or, where one is
// taken and any will do, at others. The namespace's descriptor goes into the new
// bundle as a copy.
func reopen(b *bundle, h wire.Holding, anyPort bool) (fds []int, described []wire.Socket, err error) {
	wanted := sockets.Wanted{Everywhere: h.Everywhere}
	for _, s := range h.Sockets {
		if s.Role == wire.RoleTCP {
			wanted.TCP = s.Port
		} else {
			wanted.DNS, wanted.DNSPort = true, s.Port
		}
	}
	err = inNamespace(b.netns(), func() error {
		var files []*os.File
		var err error
		described, files, err = sockets.Open(wanted)
		if anyPort && errors.Is(err, unix.EADDRINUSE) {
			wanted.TCP, wanted.DNSPort = 0, 0
			described, files, err = sockets.Open(wanted)
		}
		defer sockets.Close(files)
		for _, f := range files {
			if err == nil {
				var fd int
				fd, err = duplicate(f)
				fds = append(fds, fd)
			}
		}
		return err
	})
	if err == nil {
		var netns int
		netns, err = unix.FcntlInt(uintptr(b.netns()), unix.F_DUPFD_CLOEXEC, 0)
		fds = append(fds, netns)
	}
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	return fds, described, nil
}

// duplicate is a bare descriptor of the file's.
// With an error it is -1, never a descriptor of somebody else's.
func duplicate(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	failed := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(failed, err)
}

// inNamespace runs do on a thread in the namespace. A thread that cannot come back
// ends with its goroutine.
func inNamespace(netns int, do func() error) error {
	done := make(chan error)
	go func() {
		done <- func() error {
			runtime.LockOSThread()
			own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(own)
			if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the namespace: %w", err)
			}
			result := do()
			if unix.Setns(own, unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			return result
		}()
	}()
	return <-done
}
