package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/vip/ledger"
)

// The proxy's mark: what exempts its own connections from the redirect.
const proxyMark proxy.Mark = 0x51

// pod is a namespace with rules and a proxy in it, cabled to an internet.
type pod struct {
	t    *testing.T
	ns   *lab.Namespace
	net  *internet
	dir  string // of resources, watched
	log  *lockedBuffer
	stop func() // ends the proxy, as a crash does for new connections

	// asking is held while a name is looked up in ns, which must not be closed then:
	// the resolver renews names by itself.
	asking sync.RWMutex
	ended  bool
}

// podOption changes how the proxy of a pod is set up.
type podOption func(*setup)

// setup is what a pod's proxy is made from.
type setup struct {
	proxy.Config
	names dnsproxy.Policy
}

func onlyRegisteredNames(s *setup) { s.names = dnsproxy.RegistryOnly }

func refuseMismatches(c *setup) { c.AddressMismatch = proxy.MismatchRefuse }

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newPod programs the rules and starts the proxy. settings are fields of
// rules.Config and their values.
func newPod(t *testing.T, policy mesh.OutboundPolicy, settings map[string]string, change ...podOption) *pod {
	t.Helper()
	p := &pod{t: t, ns: labtest.New(t), net: newInternet(t), dir: t.TempDir(), log: &lockedBuffer{}}
	t.Cleanup(func() {
		p.asking.Lock()
		defer p.asking.Unlock()
		p.ended = true
	})
	must(t, lab.Connect(
		lab.End{In: p.ns, Name: "eth0", Addresses: prefixes("10.1.1.2/24", "fd01::2/64")},
		lab.End{In: p.net.ns, Name: "pod", Addresses: prefixes("10.1.1.1/24", "fd01::1/64")}))
	must(t, p.ns.Do(func() error {
		if err := lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.1.1.1")); err != nil {
			return err
		}
		return lab.AddRoute("eth0", netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd01::1"))
	}))
	p.startProxy(policy, change...)
	p.program(settings)
	return p
}

func (p *pod) program(settings map[string]string) {
	p.t.Helper()
	c := rules.Default()
	set := func(field, value string) {
		if _, err := c.Set(field, value); err != nil {
			p.t.Fatal(err)
		}
	}
	set("exemption", "mark")
	set("exemptMark", strconv.Itoa(int(proxyMark)))
	for field, value := range settings {
		set(field, value)
	}
	plan, err := rules.NewPlan(c)
	must(p.t, err)
	must(p.t, nft.Apply(p.ns.FD(), plan))
}

func (p *pod) startProxy(policy mesh.OutboundPolicy, change ...podOption) {
	p.t.Helper()
	addresses, err := ledger.Open("", slog.New(slog.DiscardHandler))
	must(p.t, err)
	store, err := file.Open(p.dir, file.Options{Options: mesh.Options{Policy: policy, Virtual: addresses.Assign}})
	must(p.t, err)
	var listeners []*net.TCPListener
	for _, a := range []string{"127.0.0.1:15001", "[::1]:15001"} {
		l, err := p.ns.Listen("tcp", a)
		must(p.t, err)
		listeners = append(listeners, l.(*net.TCPListener))
	}
	resolv := filepath.Join(p.t.TempDir(), "resolv.conf")
	must(p.t, os.WriteFile(resolv, []byte("nameserver "+dnsAddress+"\noptions timeout:1\n"), 0o644))
	set := setup{Config: proxy.Config{
		Listeners:    listeners,
		Dial:         p.dialMarked,
		Resolver:     dns.New(dns.Config{ResolvConf: resolv, Hosts: os.DevNull, Exchange: p.exchange}),
		Log:          slog.New(slog.NewTextHandler(p.log, nil)),
		DrainTimeout: time.Second,
		HasIPv6:      func() bool { return true },
	}}
	for _, f := range change {
		f(&set)
	}
	answers := p.openDNS(resolv, set.names)
	set.Answers = answers
	server, err := proxy.New(set.Config)
	must(p.t, err)
	store.Subscribe(func(s *mesh.Snapshot) { server.Update(s); answers.Update(s) })
	ctx, cancel := context.WithCancel(context.Background())
	watched, served, answered := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { answered <- answers.Serve(ctx) }()
	go func() { watched <- store.Run(ctx) }()
	go func() { served <- server.Serve(ctx) }()
	ended := false
	p.stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-served; err != nil {
			p.t.Error(err)
		}
		if err := <-watched; err != nil {
			p.t.Error(err)
		}
		if err := <-answered; err != nil {
			p.t.Error(err)
		}
	}
	p.t.Cleanup(p.stop)
}

// dialMarked is the proxy's way out of the pod: from the pod's own address, with
// the exempt mark.
func (p *pod) dialMarked(ctx context.Context, dst netip.AddrPort) (c *net.TCPConn, err error) {
	err = p.ns.Do(func() error {
		c, err = proxyMark.Dialer().DialTCP(ctx, "tcp", netip.AddrPort{}, dst)
		return err
	})
	return c, err
}

// exchange asks DNS from inside the pod.
func (p *pod) exchange(ctx context.Context, q *mdns.Msg, server string) (m *mdns.Msg, err error) {
	p.asking.RLock()
	defer p.asking.RUnlock()
	if p.ended {
		return nil, net.ErrClosed
	}
	err = p.ns.Do(func() error {
		m, err = dns.Through(proxyMark.Dialer())(ctx, q, server)
		return err
	})
	return m, err
}

// openDNS answers the pod's DNS, once rules with dnsCapture bring it here.
func (p *pod) openDNS(resolvConf string, policy dnsproxy.Policy) *dnsproxy.Server {
	p.t.Helper()
	cfg := dnsproxy.Config{ResolvConf: resolvConf, Exchange: p.exchange, Policy: policy, Log: slog.New(slog.DiscardHandler)}
	for _, a := range []string{"127.0.0.1:15053", "[::1]:15053"} {
		l, err := p.ns.Listen("tcp", a)
		must(p.t, err)
		c, err := p.ns.ListenPacket("udp", a)
		must(p.t, err)
		cfg.Streams = append(cfg.Streams, l.(*net.TCPListener))
		cfg.Packets = append(cfg.Packets, c.(*net.UDPConn))
	}
	cfg.Reachable = func() (bool, bool) { return true, true }
	server, err := dnsproxy.New(cfg)
	must(p.t, err)
	return server
}

// write puts a file into the watched directory the way an editor does.
func (p *pod) write(name, yaml string) {
	p.t.Helper()
	temporary := filepath.Join(p.dir, "."+name)
	must(p.t, os.WriteFile(temporary, []byte(yaml), 0o644))
	must(p.t, os.Rename(temporary, filepath.Join(p.dir, name)))
}

// client is an application in the pod. It resolves names with the pod's DNS and
// connects like any other program.
func (p *pod) client(family string) *http.Client {
	t := &http.Transport{
		MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000, DisableCompression: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return p.ns.Dial(ctx, "tcp", net.JoinHostPort(p.net.lookup(host, family), port))
		},
	}
	p.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 20 * time.Second}
}

// eventually waits until a change of the directory is in force.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func isRefused(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "reset"))
}
