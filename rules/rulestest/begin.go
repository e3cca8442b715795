package rulestest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/lab"
)

// patience is how long an attempt may take that is made in the end: a SYN that was dropped
// is sent again after 1, 3 and 7 s.
const patience = 20 * time.Second

// Begin sends a connection's first packet. What it returns waits for what becomes of the
// connection.
func Begin(t testing.TB, in *lab.Namespace, to netip.AddrPort) (become func() (net.Conn, error)) {
	t.Helper()
	fd, failed := -1, error(nil)
	must(t, in.Do(func() (err error) {
		if fd, err = stream(to.Addr(), unix.SOCK_NONBLOCK); err == nil {
			failed = unix.Connect(fd, sockaddr(to.Addr(), to.Port()))
		}
		return err
	}))
	f := os.NewFile(uintptr(fd), "")
	t.Cleanup(func() { f.Close() })
	return func() (net.Conn, error) {
		if errors.Is(failed, unix.EINPROGRESS) {
			failed = connected(fd, patience)
		}
		if failed != nil {
			return nil, failed
		}
		c, err := net.FileConn(f)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
}

// Who says who answers on a connection, or why there is none.
func Who(c net.Conn, err error) string {
	if err != nil {
		return err.Error()
	}
	return Ask(c)
}

// stream makes a TCP socket of an address's family, in the thread's namespace.
func stream(to netip.Addr, flags int) (int, error) {
	family := unix.AF_INET6
	if to.Is4() {
		family = unix.AF_INET
	}
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
}

// AnAttemptFromBefore holds a backend to what becomes of a connection whose first packet
// went out unanswered before its address was captured. NAT decides once for each
// connection, so nothing redirects what is sent again: it is refused, and not left to wait.
func AnAttemptFromBefore(t *testing.T, apply Apply) {
	p := NewPair(t)
	must(t, p.Server.Do(func() (err error) { // which nobody answers for
		for _, silent := range []string{"203.0.113.1/32", "2001:db8::1/128"} {
			dst := netipx.PrefixIPNet(netip.MustParsePrefix(silent))
			err = errors.Join(err, netlink.RouteAdd(&netlink.Route{Type: unix.RTN_BLACKHOLE, Dst: dst}))
		}
		return err
	}))
	must(t, apply(p.Pod.FD(), Plan(t, "includeIPRanges=192.0.2.1")))
	var attempts []func() (net.Conn, error)
	for _, silent := range []string{"203.0.113.1:80", "[2001:db8::1]:80"} {
		attempts = append(attempts, Begin(t, p.Pod, netip.MustParseAddrPort(silent)))
	}
	must(t, apply(p.Pod.FD(), Plan(t, "includeIPRanges=203.0.113.1,2001:db8::1")))
	for _, become := range attempts {
		if _, err := become(); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("an attempt from before: %v", err)
		}
	}
}
