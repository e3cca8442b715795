package egress

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/credential"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/vip/ledger"
)

func (p *Pod) startProxy(o Options) {
	p.T.Helper()
	addresses, err := ledger.Open("", slog.New(slog.DiscardHandler))
	Must(p.T, err)
	store, err := file.Open(p.dir, file.Options{
		Options: mesh.Options{Policy: o.Policy, Virtual: addresses.Assign}, Log: p.logger(),
	})
	Must(p.T, err)
	resolv := p.resolvConf()
	cfg := proxy.Config{
		Listeners:    p.redirected(),
		Workload:     o.Workload,
		Dial:         p.dialMarked,
		Resolver:     dns.New(dns.Config{ResolvConf: resolv, Hosts: os.DevNull, Exchange: p.exchange}),
		Log:          p.logger(),
		Credentials:  credential.NewStore(credential.Directory(p.credentials), p.logger()),
		AccessLog:    &p.access,
		DrainTimeout: time.Second,
		HasIPv6:      func() bool { return true },
	}
	answers := p.openDNS(resolv, o.Names)
	cfg.Answers = answers
	if o.Proxy != nil {
		o.Proxy(&cfg)
	}
	server, err := proxy.New(cfg)
	Must(p.T, err)
	p.store = store
	store.Subscribe(func(s *mesh.Snapshot) {
		server.Update(s)
		answers.Update(s)
		p.force.another()
	})
	p.run(answers.Serve, store.Run, server.Serve)
}

// run runs the pod's servers until the test ends.
func (p *Pod) run(servers ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, len(servers))
	for _, serve := range servers {
		go func() { ended <- serve(ctx) }()
	}
	p.stop = sync.OnceFunc(func() {
		cancel()
		for range servers {
			if err := <-ended; err != nil {
				p.T.Error(err)
			}
		}
	})
	p.T.Cleanup(p.stop)
}

// redirected are the listeners that the rules redirect to.
func (p *Pod) redirected() (out []*net.TCPListener) {
	for _, a := range []string{"127.0.0.1:15001", "[::1]:15001"} {
		l, err := p.NS.Listen("tcp", a)
		Must(p.T, err)
		out = append(out, l.(*net.TCPListener))
	}
	return out
}

// dialMarked is the proxy's way out of the pod: from the pod's own address, with
// the exempt mark.
func (p *Pod) dialMarked(ctx context.Context, dst netip.AddrPort) (c *net.TCPConn, err error) {
	err = p.NS.Do(func() error {
		c, err = proxyMark.Dialer().DialTCP(ctx, "tcp", netip.AddrPort{}, dst)
		return err
	})
	return c, err
}

// exchange asks DNS from inside the pod.
func (p *Pod) exchange(ctx context.Context, q *mdns.Msg, server string) (m *mdns.Msg, err error) {
	p.asking.RLock()
	defer p.asking.RUnlock()
	if p.ended {
		return nil, net.ErrClosed
	}
	err = p.NS.Do(func() error {
		m, err = dns.Through(proxyMark.Dialer())(ctx, q, server)
		return err
	})
	return m, err
}

// openDNS answers the pod's DNS, once rules with dnsCapture bring it here.
func (p *Pod) openDNS(resolvConf string, policy dnsproxy.Policy) *dnsproxy.Server {
	p.T.Helper()
	cfg := dnsproxy.Config{ResolvConf: resolvConf, Exchange: p.exchange, Policy: policy, Log: slog.New(slog.DiscardHandler)}
	for _, a := range []string{"127.0.0.1:15053", "[::1]:15053"} {
		l, err := p.NS.Listen("tcp", a)
		Must(p.T, err)
		c, err := p.NS.ListenPacket("udp", a)
		Must(p.T, err)
		cfg.Streams = append(cfg.Streams, l.(*net.TCPListener))
		cfg.Packets = append(cfg.Packets, c.(*net.UDPConn))
	}
	cfg.Reachable = func() (bool, bool) { return true, true }
	server, err := dnsproxy.New(cfg)
	Must(p.T, err)
	return server
}
