package rulestest

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// SharedSourcePort judges what a backend does when an application asks a DNS server
// from a source port and the proxy asks the same server from the same one a moment
// later: two flows with one pair of addresses, told apart by the conntrack zone.
func SharedSourcePort(t *testing.T, apply Apply) {
	labtest.NeedsOtherUsers(t)
	p := NewPair(t)
	c := rules.Default()
	c.DNSCapture, c.Exemption, c.ExemptMark = true, rules.ExemptByMark, 7
	plan, err := rules.NewPlan(c)
	if err == nil {
		err = apply(p.Pod.FD(), plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ network, pod, server, lo string }{
		{"udp4", "10.50.0.2", "10.50.0.1", "127.0.0.1"}, {"udp6", "fd50::2", "fd50::1", "::1"},
	} {
		server := net.JoinHostPort(tc.server, "53")
		answerDatagrams(t, p.Server, tc.network, server, "there")
		answerDatagrams(t, p.Pod, tc.network, net.JoinHostPort(tc.lo, "15053"), "proxy")
		client := bindUDP(t, p.Pod, tc.network, net.JoinHostPort(tc.pod, "40053"))
		for range 2 {
			for mark, want := range map[int]string{0: "proxy", 7: "there"} {
				if got := askMarked(client, server, mark); got != want {
					t.Errorf("%s mark %d: answered by %q, want %q", tc.network, mark, got, want)
				}
			}
		}
	}
}

// answerDatagrams answers every datagram with a word until the test ends.
func answerDatagrams(t *testing.T, ns *lab.Namespace, network, address, word string) {
	t.Helper()
	c := bindUDP(t, ns, network, address)
	go func() { // ends with the socket
		for buf := make([]byte, 64); ; {
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

func bindUDP(t *testing.T, ns *lab.Namespace, network, address string) *net.UDPConn {
	t.Helper()
	c, err := ns.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// askMarked asks with a mark. It is one socket for every question: a second one could
// not be sure of the port, which a child between fork and exec may still hold.
func askMarked(c *net.UDPConn, to string, mark int) string {
	raw, err := c.SyscallConn()
	if err != nil {
		return err.Error()
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) })
	if err != nil {
		return err.Error()
	}
	c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.WriteTo([]byte("?"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
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
