package nowait_test

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// Addresses are written and read as the kernel has them, in either family, and IPv4
// comes out as IPv4 where a socket of IPv6 took it.
func TestAddressesAreTheKernels(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		listen string
		family int
		dst    string
	}{
		"IPv4":                     {"127.0.0.1:0", unix.AF_INET, "127.0.0.1"},
		"IPv6":                     {"[::1]:0", unix.AF_INET6, "::1"},
		"IPv4 to a socket of IPv6": {"[::]:0", unix.AF_INET, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", tc.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			raw, err := l.(*net.TCPListener).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Socket(tc.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer nowait.Close(fd)
			dst := netip.AddrPortFrom(netip.MustParseAddr(tc.dst), uint16(l.Addr().(*net.TCPAddr).Port))
			if errno := nowait.Connect(fd, dst); errno != 0 && errno != unix.EINPROGRESS {
				t.Fatal(errno)
			}
			local, errno := nowait.LocalAddr(fd)
			if errno != 0 || local.Addr() != dst.Addr() {
				t.Fatalf("the socket is at %v, %v", local, errno)
			}
			raw.Control(func(listener uintptr) {
				accepted, from, errno := nowait.Accept(int(listener))
				if errno != 0 || from != local {
					t.Errorf("accepted from %v, %v; want %v", from, errno, local)
					return
				}
				defer nowait.Close(accepted)
				if at, errno := nowait.LocalAddr(accepted); errno != 0 || at != dst {
					t.Errorf("accepted at %v, %v; want %v", at, errno, dst)
				}
			})
		})
	}
}
