package nft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"golang.org/x/sys/unix"
)

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
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		old := dial(t, p.Pod, host, port)
		if who := rulestest.Ask(old); who != "there" {
			t.Fatal(who)
		}
		apply(t, p.Pod, running(t))
		if who := rulestest.Ask(old); who != "there" {
			t.Errorf("the old connection: %s", who)
		}
		if who := rulestest.Ask(dial(t, p.Pod, host, port)); who != "proxy" {
			t.Errorf("a new connection: %s", who)
		}
		if err := nft.Remove(p.Pod.FD()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRedirectedConnectionsSurviveAnotherConfiguration(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	apply(t, p.Pod, rulestest.Plan(t))
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		redirected := dial(t, p.Pod, host, port)
		if who := rulestest.Ask(redirected); who != "proxy" {
			t.Fatal(who)
		}
		apply(t, p.Pod, rulestest.Plan(t, "excludeIPRanges=10.50.0.1,fd50::1"))
		if who := rulestest.Ask(redirected); who != "proxy" {
			t.Errorf("%s: the established connection: %s", host, who)
		}
		if who := rulestest.Ask(dial(t, p.Pod, host, port)); who != "there" {
			t.Errorf("%s: a new connection: %s", host, who)
		}
		apply(t, p.Pod, rulestest.Plan(t))
	}
}

func TestWithoutAProxyCapturedConnectionsAreRefusedAndExcludedOnesWork(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	apply(t, p.Pod, rulestest.Plan(t, "excludeIPRanges=fd50::1"))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if c, err := p.Pod.Dial(ctx, "tcp", net.JoinHostPort("10.50.0.1", port)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("captured, nobody listening: %v, %v", c, err)
	}
	if who := rulestest.Ask(dial(t, p.Pod, "fd50::1", port)); who != "there" {
		t.Error(who)
	}
}

// A client inside a captured range asks a server in the pod: the answers are not
// new traffic, however the policy for non-TCP reads.
func TestAClientInsideACapturedRangeIsAnswered(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	apply(t, p.Pod, rulestest.Plan(t))
	for _, tc := range []struct{ network, host string }{{"udp4", "10.50.0.2"}, {"udp6", "fd50::2"}} {
		server, err := p.Pod.ListenPacket(tc.network, net.JoinHostPort(tc.host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := p.Server.Dial(context.Background(), tc.network, server.LocalAddr().String())
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
	p := rulestest.NewPair(t)
	apply(t, p.Pod, rulestest.Plan(t))
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		c, err := p.Pod.Dial(context.Background(), "udp", net.JoinHostPort(host, "443"))
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

func TestTheDNSProxyMayUseTheSourcePortItsClientUsed(t *testing.T) {
	t.Parallel()
	rulestest.SharedSourcePort(t, nft.Apply)
}

// The proxy learns where a connection was going from the kernel.
func TestTheOriginalDestinationIsKept(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	apply(t, p.Pod, rulestest.Plan(t))
	l, err := p.Pod.Listen("tcp", ":15001")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dial(t, p.Pod, "10.50.0.1", "4443")
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
	p := rulestest.Plan(t, "includeIPRanges="+strings.Join(ranges, ","))
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

func TestASocketBoundToAnInterfaceDoesNotLeave(t *testing.T) {
	t.Parallel()
	rulestest.BoundSockets(t, nft.Apply)
}

func TestAnAttemptFromBeforeIsRefusedSoon(t *testing.T) {
	t.Parallel()
	rulestest.AnAttemptFromBefore(t, nft.Apply)
}
