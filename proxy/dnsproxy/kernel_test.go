package dnsproxy

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// One namespace with a cable: routes come and go, and are noticed.
func TestRoutesAreThoseOfTheNamespaceNow(t *testing.T) {
	t.Parallel()
	ns, far := labtest.New(t), labtest.New(t)
	end := func(in *lab.Namespace, name string, addresses ...string) lab.End {
		e := lab.End{In: in, Name: name}
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, netip.MustParsePrefix(a))
		}
		return e
	}
	must(t, lab.Connect(end(ns, "eth0", "10.1.1.2/24", "fd01::2/64"), end(far, "pod", "10.1.1.1/24", "fd01::1/64")))
	look := func(when string, ipv4, ipv6 bool) {
		t.Helper()
		must(t, ns.Do(func() error {
			if v4, v6 := new(routes).reachable(); v4 != ipv4 || v6 != ipv6 {
				t.Errorf("%s: %v and %v, want %v and %v", when, v4, v6, ipv4, ipv6)
			}
			return nil
		}))
	}
	look("without a default route", false, false)
	must(t, ns.Do(func() error {
		return lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.1.1.1"))
	}))
	look("with one for IPv4", true, false)
	must(t, ns.Do(func() error {
		return lab.AddRoute("eth0", netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd01::1"))
	}))
	look("with both", true, true)
	must(t, ns.Do(func() error { return lab.Sysctl("net/ipv6/conf/all/disable_ipv6", "1") }))
	look("with IPv6 switched off", true, false)
}

// A wildcard socket answers from the address that was asked, or a connected client
// would never see the answer.
func TestAnswersLeaveFromTheAddressThatWasAsked(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	addresses := []string{"127.0.0.1", "127.0.0.9", "192.0.2.1", "192.0.2.2", "::1", "2001:db8::1", "2001:db8::2"}
	must(t, ns.Do(func() error {
		for _, a := range addresses[2:] {
			addr := netip.MustParseAddr(a)
			if addr.IsLoopback() {
				continue
			}
			if err := lab.AddAddress("lo", netip.PrefixFrom(addr, addr.BitLen())); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, network := range []string{"udp4", "udp6", "udp"} {
		t.Run(network, func(t *testing.T) {
			conn, err := ns.ListenPacket(network, ":0")
			must(t, err)
			r := &rig{t: t, log: &heard.Text{}}
			server, err := New(Config{Packets: []*net.UDPConn{conn.(*net.UDPConn)}, Reachable: func() (bool, bool) { return true, true }})
			must(t, err)
			server.Update(r.snapshot(0, tcp("a", "a.db")))
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(ctx) }()
			defer func() { stop(); must(t, <-ended) }()
			port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			for _, a := range addresses {
				to := netip.AddrPortFrom(netip.MustParseAddr(a), port)
				if to.Addr().Is4() && network == "udp6" || to.Addr().Is6() && network == "udp4" {
					continue
				}
				c, err := ns.Dial(ctx, "udp", to.String())
				must(t, err)
				c.SetDeadline(time.Now().Add(await.Patience))
				m, _, err := new(dns.Client).ExchangeWithConn(new(dns.Msg).SetQuestion("a.db.", dns.TypeA), &dns.Conn{Conn: c})
				c.Close()
				if err != nil || len(m.Answer) != 1 {
					t.Errorf("%s: %v, %v", to, m, err)
				}
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
