package iptables_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"golang.org/x/sys/unix"
)

// pair is a pod and the server it talks to.
//
//	pod 10.50.0.2 fd50::2 ─── server 10.50.0.1 fd50::1
type pair struct{ pod, server *lab.Namespace }

var hosts = []string{"10.50.0.1", "fd50::1"}

func newPair(t *testing.T) pair {
	t.Helper()
	p := pair{labtest.New(t), labtest.New(t)}
	end := func(in *lab.Namespace, v4, v6 string) lab.End {
		return lab.End{In: in, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}}
	}
	if err := lab.Connect(end(p.pod, "10.50.0.2/24", "fd50::2/64"), end(p.server, "10.50.0.1/24", "fd50::1/64")); err != nil {
		t.Fatal(err)
	}
	return p
}

// echo answers every byte with a word until the test ends, and returns its port.
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
				for buf := make([]byte, 1); ; {
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

func dial(t *testing.T, ns *lab.Namespace, network, host, port string) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c, err := ns.Dial(ctx, network, net.JoinHostPort(host, port))
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func mustDial(t *testing.T, ns *lab.Namespace, host, port string) net.Conn {
	t.Helper()
	c, err := dial(t, ns, "tcp", host, port)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEstablishedConnectionsSurviveEveryChange(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		p := newPair(t)
		port := echo(t, p.server, ":0", "there")
		echo(t, p.pod, ":15001", "proxy")
		living := map[net.Conn]string{}
		for _, host := range hosts {
			living[mustDial(t, p.pod, host, port)] = "there"
		}
		for c, who := range living { // the server has accepted them
			if got := ask(c); got != who {
				t.Fatal(got)
			}
		}
		running, err := rules.NewPlan(rules.Default(), rules.Running())
		if err != nil {
			t.Fatal(err)
		}
		apply(t, fw, p.pod, running)
		for _, host := range hosts {
			c := mustDial(t, p.pod, host, port)
			if got := ask(c); got != "proxy" {
				t.Fatalf("%s: a new connection: %s", host, got)
			}
			living[c] = "proxy"
		}
		for _, change := range []struct {
			name string
			do   func() error
		}{
			{"other ranges", func() error { return fw.Apply(p.pod.FD(), plan(t, "excludeIPRanges=10.50.0.1,fd50::1")) }},
			{"another configuration", func() error { return fw.Apply(p.pod.FD(), plan(t, "includeIPRanges=", "includeOutboundPorts="+port)) }},
			{"disable", func() error { return fw.Disable(p.pod.FD()) }},
			{"the first again", func() error { return fw.Apply(p.pod.FD(), running) }},
			{"a configuration that redirects nothing", func() error { return fw.Apply(p.pod.FD(), plan(t, "includeIPRanges=")) }},
		} {
			if err := change.do(); err != nil {
				t.Fatalf("%s: %v", change.name, err)
			}
			for c, who := range living {
				if got := ask(c); got != who {
					t.Errorf("after %s: %s to %s: %s, was %s", change.name, c.LocalAddr(), c.RemoteAddr(), got, who)
				}
			}
		}
		if err := fw.Remove(p.pod.FD()); err != nil {
			t.Fatal(err)
		}
		for c, who := range living {
			if got := ask(c); who == "there" && got != who {
				t.Errorf("after remove: %s", got)
			}
		}
	})
}

func TestDisabledCapturesNothingAndCheckSaysSo(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		p := newPair(t)
		port := echo(t, p.server, ":0", "there")
		for range 2 { // no rules is success
			if err := fw.Disable(p.pod.FD()); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, fw, p.pod, full(t))
		apply(t, fw, p.pod, plan(t))
		for range 2 {
			if err := fw.Disable(p.pod.FD()); err != nil {
				t.Fatal(err)
			}
		}
		for _, host := range hosts {
			if who := ask(mustDial(t, p.pod, host, port)); who != "there" {
				t.Errorf("%s: %s", host, who)
			}
		}
		var drift rules.Drift
		if err := fw.Check(p.pod.FD(), plan(t)); !errors.As(err, &drift) {
			t.Errorf("check says %v", err)
		}
		if hash, err := fw.Applied(p.pod.FD()); err != nil || hash != plan(t).Hash {
			t.Errorf("hash %q, %v", hash, err)
		}
		apply(t, fw, p.pod, plan(t))
		if _, err := dial(t, p.pod, "tcp", hosts[0], port); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("enabled again, nobody listens: %v", err)
		}
	})
}

func TestAMissingRedirectIsAnOutageNeverALeak(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		p := newPair(t)
		port := echo(t, p.server, ":0", "there")
		apply(t, fw, p.pod, plan(t, "excludeOutboundPorts=9", "dnsCapture=true"))
		for _, program := range []string{"iptables", "ip6tables"} {
			tables(t, p.pod, fw, program, "-t", "nat", "-F", "OUTPUT")
		}
		for _, host := range hosts {
			for _, flow := range [][2]string{{"tcp", port}, {"tcp", "53"}, {"udp", "53"}, {"udp", "443"}} {
				begin := time.Now()
				c, err := dial(t, p.pod, flow[0], host, flow[1])
				if err == nil && flow[0] == "udp" {
					_, err = c.Write([]byte("?"))
				}
				if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPERM) {
					t.Errorf("%s to %s port %s: %v", flow[0], host, flow[1], err)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("%s to %s port %s was refused after %s", flow[0], host, flow[1], took)
				}
			}
			if c, err := dial(t, p.pod, "udp", host, "9"); err != nil {
				t.Error(err)
			} else if _, err := c.Write([]byte("?")); err != nil {
				t.Errorf("an excluded port is guarded: %v", err)
			}
		}
	})
}

// An application asks from a source port, the proxy asks the same server from the
// same one a moment later: two flows with one address pair, told apart by zone.
func TestTheDNSProxyMayUseTheSourcePortItsClientUsed(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		labtest.NeedsOtherUsers(t)
		p := newPair(t)
		apply(t, fw, p.pod, plan(t, "dnsCapture=true", "exemption=mark", "exemptMark=7"))
		for _, tc := range []struct{ network, pod, server, lo string }{
			{"udp4", "10.50.0.2", "10.50.0.1", "127.0.0.1"}, {"udp6", "fd50::2", "fd50::1", "::1"},
		} {
			answerDNS(t, p.server, tc.network, net.JoinHostPort(tc.server, "53"), "there")
			answerDNS(t, p.pod, tc.network, net.JoinHostPort(tc.lo, "15053"), "proxy")
			for range 2 {
				for mark, want := range map[int]string{0: "proxy", 7: "there"} {
					if got := query(t, p.pod, tc.network, tc.pod, net.JoinHostPort(tc.server, "53"), mark); got != want {
						t.Errorf("%s mark %d: answered by %q, want %q", tc.network, mark, got, want)
					}
				}
			}
		}
	})
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
