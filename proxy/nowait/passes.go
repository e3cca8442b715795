package nowait

import (
	"errors"

	"golang.org/x/sys/unix"
)

// PassesByItself reports an error of a socket that receives or accepts (accept(2),
// recvmsg(2)) after which the next try may succeed: who came has left again, or descriptors
// or memory have run out.
func PassesByItself(err error) bool {
	for _, errno := range []error{unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EINTR, unix.EPROTO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
