package wire

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// withDescriptors lends the files' descriptors to do. It does not ask Fd: that would
// make a listener's socket block, for every process that shares it.
func withDescriptors(files []*os.File, fds []int, do func(fds []int) error) error {
	if len(files) == 0 {
		return do(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return fmt.Errorf("file %d: %w", len(fds), err)
	}
	var done error
	lent := raw.Control(func(fd uintptr) { done = withDescriptors(files[1:], append(fds, int(fd)), do) })
	return errors.Join(lent, done)
}

func descriptorsIn(rights []byte) (fds []int, err error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		more, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, err
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// Cookie is a socket's number, which no other has until the machine is started anew
// (SO_COOKIE, Linux 4.12). All descriptors of a socket have the same.
func Cookie(fd int) (uint64, error) {
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
}
