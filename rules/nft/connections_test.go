package nft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules/nft"
	"golang.org/x/sys/unix"
)

// pair is a pod and the server it talks to.
//
//	pod 10.50.0.2 fd50::2 ─── server 10.50.0.1 fd50::1
type pair struct{ pod, server *lab.Namespace }

func newPair(t *testing.T) pair {
	t.Helper()
	p := pair{labtest.New(t), labtest.New(t)}
	prefixes := func(texts ...string) (out []netip.Prefix) {
		for _, s := range texts {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	err := lab.Connect(lab.End{In: p.pod, Name: "eth0", Addresses: prefixes("10.50.0.2/24", "fd50::2/64")},
		lab.End{In: p.server, Name: "eth0", Addresses: prefixes("10.50.0.1/24", "fd50::1/64")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// echo serves a namespace's port until the test ends, putting a word before what
// it echoes.
func echo(t *testing.T, ns *lab.Namespace, address, word string) string {
	t.Helper()
	l, err := ns.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				buf := make([]byte, 1)
				for {
					if _, err := io.ReadFull(c, buf); err != nil {
						return
					}
					c.Write([]byte(word))
				}
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// ask sends a byte on a connection and returns who answers.
func ask(c net.Conn) string {
	c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Write([]byte("?")); err != nil {
		return err.Error()
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil {
		return err.Error()
	}
	return string(buf)
}

func dial(t *testing.T, ns *lab.Namespace, host, port string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c, err := ns.Dial(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestConnectionsOlderThanTheRulesGoOn(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	port := echo(t, p.server, ":0", "there")
	echo(t, p.pod, ":15001", "proxy")
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		old := dial(t, p.pod, host, port)
		if who := ask(old); who != "there" {
			t.Fatal(who)
		}
		apply(t, p.pod, running(t))
		if who := ask(old); who != "there" {
			t.Errorf("the old connection: %s", who)
		}
		if who := ask(dial(t, p.pod, host, port)); who != "proxy" {
			t.Errorf("a new connection: %s", who)
		}
		if err := nft.Remove(p.pod.FD()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRedirectedConnectionsSurviveAnotherConfiguration(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	port := echo(t, p.server, ":0", "there")
	echo(t, p.pod, ":15001", "proxy")
	apply(t, p.pod, plan(t))
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		redirected := dial(t, p.pod, host, port)
		if who := ask(redirected); who != "proxy" {
			t.Fatal(who)
		}
		apply(t, p.pod, plan(t, "excludeIPRanges=10.50.0.1,fd50::1"))
		if who := ask(redirected); who != "proxy" {
			t.Errorf("%s: the established connection: %s", host, who)
		}
		if who := ask(dial(t, p.pod, host, port)); who != "there" {
			t.Errorf("%s: a new connection: %s", host, who)
		}
		apply(t, p.pod, plan(t))
	}
}

func TestWithoutAProxyCapturedConnectionsAreRefusedAndExcludedOnesWork(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	port := echo(t, p.server, ":0", "there")
	apply(t, p.pod, plan(t, "excludeIPRanges=fd50::1"))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if c, err := p.pod.Dial(ctx, "tcp", net.JoinHostPort("10.50.0.1", port)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("captured, nobody listening: %v, %v", c, err)
	}
	if who := ask(dial(t, p.pod, "fd50::1", port)); who != "there" {
		t.Error(who)
	}
}

// A client inside a captured range asks a server in the pod: the answers are not
// new traffic, however the policy for non-TCP reads.
func TestAClientInsideACapturedRangeIsAnswered(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	apply(t, p.pod, plan(t))
	for _, tc := range []struct{ network, host string }{{"udp4", "10.50.0.2"}, {"udp6", "fd50::2"}} {
		server, err := p.pod.ListenPacket(tc.network, net.JoinHostPort(tc.host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := p.server.Dial(context.Background(), tc.network, server.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		client.SetDeadline(time.Now().Add(3 * time.Second))
		server.SetDeadline(time.Now().Add(3 * time.Second))
		client.Write([]byte("?"))
		buf := make([]byte, 8)
		_, from, err := server.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := server.WriteTo([]byte("!"), from); err != nil {
			t.Errorf("%s: the answer was refused: %v", tc.network, err)
		}
		if _, err := client.Read(buf); err != nil {
			t.Errorf("%s: no answer: %v", tc.network, err)
		}
	}
}

func TestUDPInsideTheRangesIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	apply(t, p.pod, plan(t))
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		c, err := p.pod.Dial(context.Background(), "udp", net.JoinHostPort(host, "443"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin := time.Now()
		_, err = c.Write([]byte("QUIC"))
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v", host, err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: refused after %s", host, took)
		}
	}
}

// An application asks from a source port, the proxy asks the same server from the
// same one a moment later: two flows with one address pair, told apart by zone.
func TestTheDNSProxyMayUseTheSourcePortItsClientUsed(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := newPair(t)
	apply(t, p.pod, plan(t, "dnsCapture=true", "exemption=mark", "exemptMark=7"))
	for _, tc := range []struct{ network, pod, server string }{{"udp4", "10.50.0.2", "10.50.0.1"}, {"udp6", "fd50::2", "fd50::1"}} {
		answerDNS(t, p.server, tc.network, net.JoinHostPort(tc.server, "53"), "there")
		answerDNS(t, p.pod, tc.network, net.JoinHostPort(map[string]string{"udp4": "127.0.0.1", "udp6": "::1"}[tc.network], "15053"), "proxy")
		for range 2 {
			for mark, want := range map[int]string{0: "proxy", 7: "there"} {
				if got := query(t, p.pod, tc.network, tc.pod, net.JoinHostPort(tc.server, "53"), mark); got != want {
					t.Errorf("%s mark %d: answered by %q, want %q", tc.network, mark, got, want)
				}
			}
		}
	}
}

// answerDNS answers every datagram with a word until the test ends.
func answerDNS(t *testing.T, ns *lab.Namespace, network, address, word string) {
	t.Helper()
	c, err := ns.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() { // ends with the socket
		buf := make([]byte, 64)
		for {
			_, from, err := c.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.WriteTo([]byte(word), from)
			}
		}
	}()
}

// query asks from one source port, always the same, and returns the answer.
func query(t *testing.T, ns *lab.Namespace, network, from, to string, mark int) string {
	t.Helper()
	c, err := ns.ListenPacket(network, net.JoinHostPort(from, "40053"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) })
	if err != nil {
		t.Fatal(err)
	}
	dst := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
	c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.WriteTo([]byte("?"), dst); err != nil {
		return err.Error()
	}
	buf := make([]byte, 64)
	n, answered, err := c.ReadFrom(buf)
	if err != nil {
		return err.Error()
	}
	if answered.String() != to {
		return "another address: " + answered.String()
	}
	return string(buf[:n])
}

// The proxy learns where a connection was going from the kernel.
func TestTheOriginalDestinationIsKept(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	apply(t, p.pod, plan(t))
	l, err := p.pod.Listen("tcp", ":15001")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dial(t, p.pod, "10.50.0.1", "4443")
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const soOriginalDst = 80
	var original *unix.IPv6Mreq // 16 bytes, as large as a sockaddr_in
	raw.Control(func(fd uintptr) { original, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst) })
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrFrom4([4]byte(original.Multiaddr[4:8]))
	if got := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(original.Multiaddr[2:])); got.String() != "10.50.0.1:4443" {
		t.Errorf("original destination %s", got)
	}
}

// How much an ordinary user may send at once is the machine's net.core.wmem_max.
func TestTooManyRangesForThisUserIsAClearError(t *testing.T) {
	t.Parallel()
	var ranges []string
	for i := range 20000 {
		ranges = append(ranges, netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}).String()+"/25")
	}
	ns := labtest.New(t)
	p := plan(t, "includeIPRanges="+strings.Join(ranges, ","))
	if err := nft.Apply(ns.FD(), p); err == nil {
		if err := nft.Check(ns.FD(), p); err != nil {
			t.Error(err)
		}
		return
	} else if !lab.OwnUserNamespace() || !strings.Contains(err.Error(), "too many ranges") {
		t.Errorf("%v", err)
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
