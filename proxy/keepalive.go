package proxy

import (
	"time"

	"golang.org/x/sys/unix"
)

// keepAlive has the kernel probe a connection over which nothing moves, where the
// newest configuration says so. A kernel that refuses a value goes by its own: that is
// no reason to have no connection.
func (u *upstream) keepAlive(fd int) {
	keep := u.latest().KeepAlive
	if keep == nil {
		return
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	for option, value := range map[int]int{
		unix.TCP_KEEPCNT:   keep.Probes,
		unix.TCP_KEEPIDLE:  int(keep.Time / time.Second),
		unix.TCP_KEEPINTVL: int(keep.Interval / time.Second),
	} {
		if value > 0 {
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value)
		}
	}
}
