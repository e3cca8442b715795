package nft_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"golang.org/x/sys/unix"
)

// withoutRedirects removes what sends traffic to the proxy, as a mistake or a
// half-done repair would.
func withoutRedirects(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	rulestest.Tamper(t, ns, func(c *nftables.Conn) error {
		c.FlushChain(&nftables.Chain{Name: "output_nat", Table: &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}})
		return nil
	})
}

func begin(t *testing.T, in *lab.Namespace, host, port string) func() string {
	t.Helper()
	become := rulestest.Begin(t, in, netip.MustParseAddrPort(net.JoinHostPort(host, port)))
	return func() string { return rulestest.Who(become()) }
}

// refused dials and says whether that was refused; either way it is quick.
func refused(t *testing.T, ns *lab.Namespace, network, host, port string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	begin := time.Now()
	c, err := ns.Dial(ctx, network, net.JoinHostPort(host, port))
	if err == nil {
		defer c.Close()
		if network == "udp" {
			_, err = c.Write([]byte("?"))
		}
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("%s to %s took %s", network, host, took)
	}
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EPERM)
}

func TestAMissingRedirectIsAnOutageNeverALeak(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		p := rulestest.NewPair(t)
		port := rulestest.Echo(t, p.Server, ":0", "there")
		rulestest.Echo(t, p.Pod, ":15001", "proxy")
		rulestest.Echo(t, p.Pod, ":15053", "names")
		plan := rulestest.Plan(t, "excludeOutboundPorts=9", "dnsCapture=true")
		apply(t, p.Pod, plan)
		withoutRedirects(t, p.Pod)
		held := map[string]func() string{"proxy": begin(t, p.Pod, host, port), "names": begin(t, p.Pod, host, "53")}
		if !refused(t, p.Pod, "udp", host, "53") {
			t.Errorf("UDP to %s port 53 went out", host)
		}
		if refused(t, p.Pod, "udp", host, "9") {
			t.Error("an excluded port is guarded")
		}
		apply(t, p.Pod, plan) // and with the redirects back they go on
		for want, become := range held {
			if who := become(); who != want {
				t.Errorf("a connection to %s: %s, want %s", host, who, want)
			}
		}
	}
}

func TestTheGuardHoldsIncludedPortsAndLetsConnectionsGoOn(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	old := dial(t, p.Pod, "10.50.0.1", port)
	plan := running(t, "includeIPRanges=", "includeOutboundPorts="+port)
	apply(t, p.Pod, plan)
	withoutRedirects(t, p.Pod)
	held := begin(t, p.Pod, "10.50.0.1", port)
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	apply(t, p.Pod, plan)
	if who := held(); who != "proxy" {
		t.Errorf("to an included port: %s", who)
	}
	if who := rulestest.Ask(old); who != "there" {
		t.Errorf("a connection older than the rules: %s", who)
	}
}

func TestUnderBypassAMissingRedirectLetsTrafficGo(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	apply(t, p.Pod, rulestest.Plan(t, "failurePolicy=bypass", "dnsCapture=true"))
	withoutRedirects(t, p.Pod)
	if who := rulestest.Ask(dial(t, p.Pod, "10.50.0.1", port)); who != "there" {
		t.Error(who)
	}
}

// A process with raw sockets can send what begins no connection: neither a redirect
// nor a reset is for that, and it stays in the pod all the same.
func TestPacketsThatBeginNothingDoNotLeave(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	w := newWire(t, rulestest.NewPair(t))
	send := func(to netip.Addr) escape.Attempt {
		return escape.Attempt{Name: "odd", Send: func() {
			for _, flags := range []byte{escape.ACK, escape.FIN, escape.RST, 0, escape.SYN | escape.FIN} {
				w.RawPacket(to, unix.IPPROTO_TCP, escape.TCP(flags))
				w.RawPacket(to, unix.IPPROTO_TCP, escape.TCPTo(53, flags))
			}
		}}
	}
	for _, settings := range [][]string{
		{"includeIPRanges=*"},
		{"includeIPRanges=", "includeOutboundPorts=80,53"},
		{"includeIPRanges=", "dnsCapture=true", "includeOutboundPorts=80"},
	} {
		apply(t, w.Pod, rulestest.Plan(t, append(settings, "excludeOutboundPorts=9999")...))
		for _, to := range []netip.Addr{w.To4, w.To6} {
			if seen := w.watch(t, send(to)); len(seen) > 0 {
				t.Errorf("%v: %d packets to %s arrived", settings, len(seen), to)
			}
		}
	}
}

// What a machine behind the pod sends is held as what the pod itself sends.
func TestAMissingRedirectIsAnOutageForReroutedTrafficToo(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	vm := machineBehind(t, p)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	rulestest.Echo(t, p.Pod, ":15053", "names")
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		plan := rulestest.Plan(t, "rerouteInterfaces=vm0", "dnsCapture=true")
		apply(t, p.Pod, plan)
		old := dial(t, vm, host, port)
		if who := rulestest.Ask(old); who != "proxy" {
			t.Errorf("%s: a rerouted connection: %s", host, who)
		}
		rulestest.Tamper(t, p.Pod, func(c *nftables.Conn) error {
			c.FlushChain(&nftables.Chain{Name: "reroute_nat", Table: &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}})
			return nil
		})
		held := map[string]func() string{"proxy": begin(t, vm, host, port), "names": begin(t, vm, host, "53")}
		if who := rulestest.Ask(old); who != "proxy" {
			t.Errorf("%s: the established connection: %s", host, who)
		}
		apply(t, p.Pod, plan)
		for want, become := range held {
			if who := become(); who != want {
				t.Errorf("a connection to %s: %s, want %s", host, who, want)
			}
		}
	}
}

// A machine behind the pod renews its lease from a server in a captured range and
// says what ICMP says about the network. Each of these passes by its own rule.
func TestWhatANetworkNeedsIsForwardedForAMachine(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := rulestest.NewPair(t)
	vm := machineBehind(t, p)
	w := newWire(t, p)
	apply(t, p.Pod, rulestest.Plan(t, "rerouteInterfaces=vm0", "excludeOutboundPorts=9999"))
	from4, from6 := netip.MustParseAddr("10.60.0.2"), netip.MustParseAddr("fd60::2")
	raw := func(to netip.Addr, protocol byte, payload []byte) func() {
		packet, options := escape.IP6(protocol, from6, to, payload), []escape.Option{{Level: unix.SOL_IPV6, Name: unix.IPV6_HDRINCL, Value: 1}}
		if to.Is4() {
			packet, options = escape.IP4(protocol, from4, to, payload), []escape.Option{{Level: unix.SOL_IP, Name: unix.IP_HDRINCL, Value: 1}}
		}
		return func() {
			escape.WithSocket(to, unix.SOCK_RAW, unix.IPPROTO_RAW, options, func(fd int) { unix.Sendto(fd, packet, 0, escape.Sockaddr(to, 0)) })
		}
	}
	timestamp := []byte{13, 0, 0xf2, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	nodeInformation := make([]byte, 16)
	nodeInformation[0] = 139 // a query of RFC 4620
	for rule, send := range map[string]func(){
		"DHCP":                   raw(w.To4, unix.IPPROTO_UDP, escape.UDPFrom(68, 67)),
		"DHCPv6":                 raw(w.To6, unix.IPPROTO_UDP, escape.UDPFrom(546, 547)),
		"IGMP":                   raw(w.To4, unix.IPPROTO_IGMP, []byte{0x16, 0, 0xe9, 0xff, 0, 0, 0, 0}),
		"ICMP other than echo":   raw(w.To4, unix.IPPROTO_ICMP, timestamp),
		"ICMPv6 other than echo": raw(w.To6, unix.IPPROTO_ICMPV6, nodeInformation),
	} {
		if seen := w.watchFrom(t, vm, send); len(seen) == 0 {
			t.Errorf("%s did not arrive", rule)
		}
		rulestest.Tamper(t, p.Pod, rulestest.DeleteRule("forward_filter", rule))
		if seen := w.watchFrom(t, vm, send); len(seen) != 0 {
			t.Errorf("%s arrives without its rule too: the rule is there for nothing", rule)
		}
	}
}

// machineBehind is a machine whose way out leads through the pod, by vm0.
func machineBehind(t *testing.T, p rulestest.Pair) *lab.Namespace {
	t.Helper()
	vm := labtest.New(t)
	prefixes := func(v4, v6 string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}
	}
	must(t, lab.Connect(lab.End{In: p.Pod, Name: "vm0", Addresses: prefixes("10.60.0.1/24", "fd60::1/64")},
		lab.End{In: vm, Name: "eth0", Addresses: prefixes("10.60.0.2/24", "fd60::2/64")}))
	route := func(to, via string) error {
		return lab.AddRoute("eth0", netip.MustParsePrefix(to), netip.MustParseAddr(via))
	}
	must(t, vm.Do(func() error { return errors.Join(route("10.50.0.0/24", "10.60.0.1"), route("fd50::/64", "fd60::1")) }))
	must(t, p.Server.Do(func() error { return errors.Join(route("10.60.0.0/24", "10.50.0.2"), route("fd60::/64", "fd50::2")) }))
	must(t, p.Pod.Do(func() error {
		return errors.Join(lab.Sysctl("net/ipv4/ip_forward", "1"), lab.Sysctl("net/ipv6/conf/all/forwarding", "1"))
	}))
	return vm
}
