package iptables_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"golang.org/x/sys/unix"
)

var hosts = []string{"10.50.0.1", "fd50::1"}

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
		p := rulestest.NewPair(t)
		port := rulestest.Echo(t, p.Server, ":0", "there")
		rulestest.Echo(t, p.Pod, ":15001", "proxy")
		living := map[net.Conn]string{}
		for _, host := range hosts {
			living[mustDial(t, p.Pod, host, port)] = "there"
		}
		for c, who := range living { // the server has accepted them
			if got := rulestest.Ask(c); got != who {
				t.Fatal(got)
			}
		}
		running, err := rules.NewPlan(rules.Default(), rules.Running())
		if err != nil {
			t.Fatal(err)
		}
		apply(t, fw, p.Pod, running)
		for _, host := range hosts {
			c := mustDial(t, p.Pod, host, port)
			if got := rulestest.Ask(c); got != "proxy" {
				t.Fatalf("%s: a new connection: %s", host, got)
			}
			living[c] = "proxy"
		}
		for _, change := range []struct {
			name string
			do   func() error
		}{
			{"other ranges", func() error { return fw.Apply(p.Pod.FD(), rulestest.Plan(t, "excludeIPRanges=10.50.0.1,fd50::1")) }},
			{"another configuration", func() error {
				return fw.Apply(p.Pod.FD(), rulestest.Plan(t, "includeIPRanges=", "includeOutboundPorts="+port))
			}},
			{"disable", func() error { return fw.Disable(p.Pod.FD()) }},
			{"the first again", func() error { return fw.Apply(p.Pod.FD(), running) }},
			{"a configuration that redirects nothing", func() error { return fw.Apply(p.Pod.FD(), rulestest.Plan(t, "includeIPRanges=")) }},
		} {
			if err := change.do(); err != nil {
				t.Fatalf("%s: %v", change.name, err)
			}
			for c, who := range living {
				if got := rulestest.Ask(c); got != who {
					t.Errorf("after %s: %s to %s: %s, was %s", change.name, c.LocalAddr(), c.RemoteAddr(), got, who)
				}
			}
		}
		if err := fw.Remove(p.Pod.FD()); err != nil {
			t.Fatal(err)
		}
		for c, who := range living {
			if got := rulestest.Ask(c); who == "there" && got != who {
				t.Errorf("after remove: %s", got)
			}
		}
	})
}

func TestDisabledCapturesNothingAndCheckSaysSo(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		p := rulestest.NewPair(t)
		port := rulestest.Echo(t, p.Server, ":0", "there")
		for range 2 { // no rules is success
			if err := fw.Disable(p.Pod.FD()); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, fw, p.Pod, full(t))
		apply(t, fw, p.Pod, rulestest.Plan(t))
		for range 2 {
			if err := fw.Disable(p.Pod.FD()); err != nil {
				t.Fatal(err)
			}
		}
		for _, host := range hosts {
			if who := rulestest.Ask(mustDial(t, p.Pod, host, port)); who != "there" {
				t.Errorf("%s: %s", host, who)
			}
		}
		var drift rules.Drift
		if err := fw.Check(p.Pod.FD(), rulestest.Plan(t)); !errors.As(err, &drift) {
			t.Errorf("check says %v", err)
		}
		if hash, err := fw.Applied(p.Pod.FD()); err != nil || hash != rulestest.Plan(t).Hash {
			t.Errorf("hash %q, %v", hash, err)
		}
		apply(t, fw, p.Pod, rulestest.Plan(t))
		if _, err := dial(t, p.Pod, "tcp", hosts[0], port); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("enabled again, nobody listens: %v", err)
		}
	})
}

func TestAMissingRedirectIsAnOutageNeverALeak(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		p := rulestest.NewPair(t)
		port := rulestest.Echo(t, p.Server, ":0", "there")
		rulestest.Echo(t, p.Pod, ":15001", "proxy")
		rulestest.Echo(t, p.Pod, ":15053", "names")
		plan := rulestest.Plan(t, "excludeOutboundPorts=9", "dnsCapture=true")
		apply(t, fw, p.Pod, plan)
		for _, program := range []string{"iptables", "ip6tables"} {
			tables(t, p.Pod, fw, program, "-t", "nat", "-F", "OUTPUT")
		}
		held := map[string][]func() (net.Conn, error){}
		for _, host := range hosts {
			for want, port := range map[string]string{"proxy": port, "names": "53"} {
				held[want] = append(held[want], rulestest.Begin(t, p.Pod, netip.MustParseAddrPort(net.JoinHostPort(host, port))))
			}
			for _, port := range []string{"53", "443"} {
				begin := time.Now()
				c, err := dial(t, p.Pod, "udp", host, port)
				if err == nil {
					_, err = c.Write([]byte("?"))
				}
				if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPERM) {
					t.Errorf("UDP to %s port %s: %v", host, port, err)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("UDP to %s port %s was refused after %s", host, port, took)
				}
			}
			if c, err := dial(t, p.Pod, "udp", host, "9"); err != nil {
				t.Error(err)
			} else if _, err := c.Write([]byte("?")); err != nil {
				t.Errorf("an excluded port is guarded: %v", err)
			}
		}
		apply(t, fw, p.Pod, plan) // and with the redirects back they go on
		for want, attempts := range held {
			for _, become := range attempts {
				if who := rulestest.Who(become()); who != want {
					t.Errorf("a connection: %s, want %s", who, want)
				}
			}
		}
	})
}

func TestTheDNSProxyMayUseTheSourcePortItsClientUsed(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) { rulestest.SharedSourcePort(t, fw.Apply) })
}

func TestASocketBoundToAnInterfaceDoesNotLeave(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) { rulestest.BoundSockets(t, fw.Apply) })
}

func TestAnAttemptFromBeforeIsRefusedSoon(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) { rulestest.AnAttemptFromBefore(t, fw.Apply) })
}
