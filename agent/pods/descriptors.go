package pods

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/netns"
)

// unpacked takes over a set's files: the sockets' descriptors, and the namespace, which
// comes last.
func unpacked(files []*os.File) (sockets []int, ns *netns.Namespace, err error) {
	fds, err := descriptors(files)
	if err != nil {
		return nil, nil, err
	}
	last := len(fds) - 1
	if ns, err = netns.Open(os.NewFile(uintptr(fds[last]), "netns")); err != nil {
		closeAll(fds[:last])
		return nil, nil, err
	}
	return fds[:last], ns, nil
}

// descriptors takes bare descriptors out of files, which Go's netpoller watches, and
// closes those.
func descriptors(files []*os.File) (fds []int, err error) {
	for _, f := range files {
		raw, failed := f.SyscallConn()
		if failed == nil {
			own := -1
			inner := raw.Control(func(fd uintptr) { own, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
			if failed = errors.Join(inner, failed); failed == nil {
				fds = append(fds, own)
			}
		}
		err = errors.Join(err, failed)
		f.Close()
	}
	if err == nil && len(fds) == 0 {
		err = errors.New("no file came with it")
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
