package egress

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/netns"
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
	resolv, sockets := p.resolvConf(), p.sockets()
	cfg := proxy.Config{
		Listeners:    p.redirected(),
		Workload:     o.Workload,
		Socket:       sockets,
		Resolver:     dns.New(dns.Config{ResolvConf: resolv, Hosts: os.DevNull, Exchange: dns.ThroughSockets(sockets)}),
		Log:          p.logger(),
		Credentials:  credential.NewStore(credential.Directory(p.credentials), p.logger()),
		AccessLog:    &p.access,
		DrainTimeout: time.Second,
	}
	answers := p.openDNS(resolv, sockets, o.Names)
	cfg.Answers = answers
	if o.Proxy != nil {
		o.Proxy(&cfg)
	}
	p.store, p.proxies = store, &proxies{p: p, config: cfg, sockets: cfg.Listeners}
	p.proxies.begin()
	store.Subscribe(func(s *mesh.Snapshot) {
		p.proxies.follow(s)
		answers.Update(s)
		p.force.another()
	})
	p.run(answers.Serve, store.Run, p.proxies.serve)
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
		Must(p.T, p.NS.Do(func() error {
			l, err := proxy.Listen("tcp", a)
			out = append(out, l)
			return err
		}))
	}
	return out
}

// sockets makes the proxy's sockets in the pod, as the node agent does, with the exempt
// mark.
func (p *Pod) sockets() func(domain, typ int) (int, error) {
	p.T.Helper()
	ns, err := netns.OpenPath(p.NS.FDPath())
	Must(p.T, err)
	p.T.Cleanup(func() { ns.Close() })
	return func(domain, typ int) (int, error) {
		fd, err := ns.Socket(domain, typ)
		if err != nil {
			return -1, err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, proxyMark); err != nil {
			unix.Close(fd)
			return -1, err
		}
		return fd, nil
	}
}

// openDNS answers the pod's DNS, once rules with dnsCapture bring it here.
func (p *Pod) openDNS(resolvConf string, sockets func(domain, typ int) (int, error), policy dnsproxy.Policy) *dnsproxy.Server {
	p.T.Helper()
	cfg := dnsproxy.Config{ResolvConf: resolvConf, Socket: sockets, Policy: policy, Log: slog.New(slog.DiscardHandler)}
	for _, a := range []string{"127.0.0.1:15053", "[::1]:15053"} {
		l, err := p.NS.Listen("tcp", a)
		Must(p.T, err)
		c, err := p.NS.ListenPacket("udp", a)
		Must(p.T, err)
		cfg.Streams = append(cfg.Streams, l.(*net.TCPListener))
		cfg.Packets = append(cfg.Packets, c.(*net.UDPConn))
	}
	server, err := dnsproxy.New(cfg)
	Must(p.T, err)
	return server
}
