package dial_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/proxy/dial"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// of makes sockets in a namespace, and nothing else.
func of(ns *lab.Namespace) dial.Sockets {
	return func(domain, typ int) (fd int, err error) {
		err = ns.Do(func() error {
			fd, err = unix.Socket(domain, typ, 0)
			return err
		})
		return fd, err
	}
}

// What a socket reaches is decided where it was made, in either family and by a
// link-local address, whose interface is one of that namespace.
func TestASocketConnectsInTheNamespaceItWasMadeIn(t *testing.T) {
	t.Parallel()
	ns, far := labtest.New(t), labtest.New(t)
	ours := lab.End{In: ns, Name: "eth7", Addresses: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}}
	theirs := lab.End{In: far, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("fe80::2/64")}}
	if err := lab.Connect(ours, theirs); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		at     *lab.Namespace
		listen string
		dial   string
	}{
		{ns, "127.0.0.1", "127.0.0.1"},
		{ns, "127.0.0.2", "::ffff:127.0.0.2"},
		{ns, "::1", "::1"},
		{far, "fe80::2%eth0", "fe80::2%eth7"},
	} {
		l, err := tc.at.Listen("tcp", net.JoinHostPort(tc.listen, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		to := netip.AddrPortFrom(netip.MustParseAddr(tc.dial), uint16(l.Addr().(*net.TCPAddr).Port))
		c, err := of(ns).Conn(t.Context(), "tcp", to)
		if err != nil {
			t.Errorf("%s: %v", tc.dial, err)
			continue
		}
		defer c.Close()
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		io.WriteString(c, "here")
		got := make([]byte, 4)
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != "here" {
			t.Errorf("%s: the server reads %q, %v", tc.dial, got, err)
		}
		if c, err := dial.Sockets(nil).Conn(t.Context(), "tcp", to); err == nil {
			c.Close()
			t.Errorf("%s is reached from this process's namespace too", tc.dial)
		}
	}
	if _, err := of(ns).Conn(t.Context(), "udp", netip.MustParseAddrPort("[fe80::2%nowhere]:53")); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an interface that is not there: %v", err)
	}
}

func TestOverUDPDatagramsGoBothWays(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	server, err := ns.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := of(ns).Conn(t.Context(), "udp", server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "question")
	b := make([]byte, 16)
	n, from, err := server.ReadFrom(b)
	if err != nil || string(b[:n]) != "question" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	server.WriteTo([]byte("answer"), from)
	c.SetReadDeadline(time.Now().Add(await.Patience))
	if n, err := c.Read(b); err != nil || string(b[:n]) != "answer" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// A connection that nobody answers is waited for as long as its caller does.
func TestAWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	hole := netip.MustParseAddrPort("192.0.2.1:80")
	err := ns.Do(func() error { // answers nothing: nobody has the address that the route leads to
		return errors.Join(
			lab.Connect(lab.End{In: ns, Name: "a", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}, lab.End{In: ns, Name: "b"}),
			lab.AddRoute("a", netip.MustParsePrefix("192.0.2.0/24"), netip.Addr{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		ctx  func() (context.Context, context.CancelFunc)
		want error
	}{
		"a deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		}, os.ErrDeadlineExceeded},
		"a caller who leaves": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
	} {
		ctx, cancel := tc.ctx()
		c, err := of(ns).Conn(ctx, "tcp", hole)
		cancel()
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, %v; want %v", name, c, err, tc.want)
		}
	}
}

func TestRoutesAreThoseOfTheSockets(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	to := netip.MustParseAddr("192.0.2.1")
	if of(ns).Routes(to) {
		t.Error("a namespace without links has a route")
	}
	err := ns.Do(func() error {
		return errors.Join(
			lab.Connect(lab.End{In: ns, Name: "a", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}, lab.End{In: ns, Name: "b"}),
			lab.AddRoute("a", netip.MustParsePrefix("192.0.2.0/24"), netip.Addr{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if !of(ns).Routes(to) || dial.Sockets(nil).Routes(to) {
		t.Error("the route of a namespace is not told apart from this process's")
	}
}
