package pods

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/sockets"
	"github.com/sluice-cni/sluice/holder/wire"
)

// Sockets are a pod's own, open in this process beside the holder's: what the pod's
// rules redirect arrives at them. They are kept as bare descriptors, which Go's
// netpoller does not watch: a proxy accepts from duplicates, and where none runs the
// process is not woken.
type Sockets struct {
	all []wire.Socket
	fds []int
}

// SocketsOf takes over descriptors as they came from the holder, in the order of all.
func SocketsOf(all []wire.Socket, fds []int) (Sockets, error) {
	if len(all) != len(fds) {
		closeAll(fds)
		return Sockets{}, fmt.Errorf("%d descriptors for %d sockets", len(fds), len(all))
	}
	for _, fd := range fds {
		// Whoever shares a socket shares this. All of them need it.
		if err := unix.SetNonblock(fd, true); err != nil {
			closeAll(fds)
			return Sockets{}, os.NewSyscallError("fcntl", err)
		}
	}
	return Sockets{all, fds}, nil
}

// Describe lists them in the holder's words.
func (s Sockets) Describe() []wire.Socket { return s.all }

// Port is that of the first socket of a role, 0 where there is none. All sockets of one
// role have the same.
func (s Sockets) Port(role string) uint16 {
	for _, socket := range s.all {
		if socket.Role == role {
			return socket.Port
		}
	}
	return 0
}

// Close closes this process's descriptors.
func (s *Sockets) Close() {
	closeAll(s.fds)
	s.fds = nil
}

// served are the same sockets as a proxy takes them, duplicates each.
type served struct {
	tcp     []*net.TCPListener
	packets []*net.UDPConn
	streams []*net.TCPListener
}

func (s Sockets) serve() (out served, err error) {
	defer func() {
		if err != nil {
			out.close()
		}
	}()
	for i, socket := range s.all {
		var own int
		if own, err = unix.FcntlInt(uintptr(s.fds[i]), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return out, os.NewSyscallError("fcntl", err)
		}
		if socket.Role != wire.RoleDNSPacket {
			// One that listens goes on; one that somebody in the pod has shut listens again.
			unix.Listen(own, sockets.Backlog)
		}
		f := os.NewFile(uintptr(own), socket.Role)
		switch socket.Role {
		case wire.RoleTCP:
			err = appendListener(&out.tcp, f)
		case wire.RoleDNSStream:
			err = appendListener(&out.streams, f)
		case wire.RoleDNSPacket:
			err = appendPackets(&out.packets, f)
		default: // of a newer plugin: nobody here knows what it is for
		}
		f.Close()
		if err != nil {
			return out, fmt.Errorf("socket %s %s: %w", socket.Role, socket.Network, err)
		}
	}
	return out, nil
}

func appendListener(to *[]*net.TCPListener, f *os.File) error {
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return errors.New("is no TCP listener")
	}
	*to = append(*to, t)
	return nil
}

func appendPackets(to *[]*net.UDPConn, f *os.File) error {
	c, err := net.FilePacketConn(f)
	if err != nil {
		return err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		c.Close()
		return errors.New("is no UDP socket")
	}
	*to = append(*to, u)
	return nil
}

func (s served) close() {
	for _, l := range append(s.tcp, s.streams...) {
		l.Close()
	}
	for _, c := range s.packets {
		c.Close()
	}
}

// Open opens a running pod's sockets in its namespace. Where a port is taken, by the
// application, any free one is as good: the rules name the one that it is.
func Open(n *netns.Namespace, want sockets.Wanted) (s Sockets, err error) {
	err = n.Do(func() error {
		if err := raiseLoopback(); err != nil {
			return err
		}
		described, files, err := sockets.Open(want)
		if errors.Is(err, unix.EADDRINUSE) {
			want.TCP, want.DNSPort = 0, 0
			described, files, err = sockets.Open(want)
		}
		if err != nil {
			return err
		}
		fds, err := descriptors(files)
		if err != nil {
			return err
		}
		s = Sockets{described, fds}
		return nil
	})
	return s, err
}

// only leaves the sockets whose roles are given, and closes the others.
func (s Sockets) only(roles ...string) (out Sockets) {
	for i, socket := range s.all {
		if !slices.Contains(roles, socket.Role) {
			unix.Close(s.fds[i])
			continue
		}
		out.all, out.fds = append(out.all, socket), append(out.fds, s.fds[i])
	}
	return out
}

// with are both together.
func (s Sockets) with(more Sockets) Sockets {
	return Sockets{slices.Concat(s.all, more.all), slices.Concat(s.fds, more.fds)}
}

// cookie tells the sockets from all others: the first one's number.
func (s Sockets) cookie() uint64 {
	if len(s.fds) == 0 {
		return 0
	}
	n, _ := wire.Cookie(s.fds[0])
	return n
}

func raiseLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil && lo.Attrs().Flags&net.FlagUp == 0 {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring interface lo up: %w", err)
	}
	return nil
}
