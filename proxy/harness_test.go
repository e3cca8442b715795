package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/ca"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// rig is a proxy on loopback. Where redirected connections were going is told by
// dst instead of the kernel; everything else is real. (e2e has the kernel.)
type rig struct {
	t      testing.TB
	server *proxy.Server
	addr   string
	dst    atomic.Pointer[netip.AddrPort]
	names  sync.Map // DNS name ▸ []string of addresses
	log    *heard.Text
	access *heard.Text
	stop   context.CancelFunc
	ended  chan error
}

// lanes runs the whole suite through the event loops:
// go test ./proxy -args -lanes
var lanes = flag.Bool("lanes", false, "connections go to an event loop before their first request")

// newRig starts a proxy under the given YAML.
func newRig(t testing.TB, policy mesh.OutboundPolicy, yaml string, change ...func(*proxy.Config)) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, addr: l.Addr().String(), log: &heard.Text{}, access: &heard.Text{}, ended: make(chan error, 1)}
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	os.WriteFile(resolv, []byte("nameserver 192.0.2.53\noptions timeout:1 attempts:1\n"), 0o644)
	cfg := proxy.Config{
		Listeners:    []*net.TCPListener{l.(*net.TCPListener)},
		OriginalDst:  func(int, netip.AddrPort) (netip.AddrPort, error) { return *r.dst.Load(), nil },
		Resolver:     dns.New(dns.Config{ResolvConf: resolv, Hosts: "/dev/null", Exchange: r.answer}),
		Log:          slog.New(slog.NewTextHandler(r.log, nil)),
		AccessLog:    r.access,
		DrainTimeout: 5 * time.Second,
		UnsafeRanges: []netip.Prefix{}, // the servers of tests are on loopback
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.server, err = proxy.New(cfg); err != nil {
		t.Fatal(err)
	}
	if *lanes {
		proxy.GoToLanes(r.server)
	}
	r.to("203.0.113.1:80")
	r.apply(policy, yaml)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.ended <- r.server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-r.ended:
		case <-time.After(await.Patience):
			t.Error("the proxy did not stop")
		}
		if t.Failed() {
			t.Logf("proxy log:\n%s\naccess log:\n%s", r.log, r.access)
		}
	})
	return r
}

// to says where connections made from now on were going.
func (r *rig) to(dst string) {
	ap := netip.MustParseAddrPort(dst)
	r.dst.Store(&ap)
}

func (r *rig) apply(policy mesh.OutboundPolicy, yaml string) {
	r.t.Helper()
	resources, issues := mesh.Decode("test.yaml", []byte(yaml), mesh.DecodeOptions{})
	if issues.HasErrors() {
		r.t.Fatal(issues)
	}
	snapshot, issues := mesh.Build(resources, mesh.Options{Policy: policy})
	if issues.HasErrors() {
		r.t.Fatal(issues)
	}
	r.server.Update(snapshot)
}

// answer is a DNS server that knows r.names.
func (r *rig) answer(_ context.Context, q *mdns.Msg, _ string) (*mdns.Msg, error) {
	m := new(mdns.Msg).SetReply(q)
	name := strings.TrimSuffix(q.Question[0].Name, ".")
	addrs, ok := r.names.Load(name)
	if !ok {
		m.Rcode = mdns.RcodeNameError
		return m, nil
	}
	for _, a := range addrs.([]string) {
		ip := net.ParseIP(a)
		header := mdns.RR_Header{Name: q.Question[0].Name, Class: mdns.ClassINET, Ttl: 60}
		switch {
		case ip.To4() != nil && q.Question[0].Qtype == mdns.TypeA:
			header.Rrtype = mdns.TypeA
			m.Answer = append(m.Answer, &mdns.A{Hdr: header, A: ip})
		case ip.To4() == nil && q.Question[0].Qtype == mdns.TypeAAAA:
			header.Rrtype = mdns.TypeAAAA
			m.Answer = append(m.Answer, &mdns.AAAA{Hdr: header, AAAA: ip})
		}
	}
	return m, nil
}

func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

// raw sends text on a new connection and returns all that comes back.
func (r *rig) raw(text string) string {
	r.t.Helper()
	c := r.dial()
	if _, err := io.WriteString(c, text); err != nil {
		r.t.Fatal(err)
	}
	c.CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil && !isReset(err) {
		r.t.Fatal(err)
	}
	return string(b)
}

// client sends every request to the proxy, whatever its URL says.
func (r *rig) client() *http.Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", r.addr)
		},
		DisableCompression: true,
		MaxIdleConns:       1000, MaxIdleConnsPerHost: 1000,
	}
	r.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (r *rig) get(url string) (*http.Response, string) {
	r.t.Helper()
	resp, err := r.client().Get(url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(body)
}

// static is a ServiceEntry whose endpoint is a test server on loopback.
func static(name, host, protocol string, port int, endpoint string) string {
	ap := netip.MustParseAddrPort(endpoint)
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%q]
  ports: [{number: %d, name: p, protocol: %s}]
  resolution: STATIC
  endpoints: [{address: %s, ports: {p: %d}}]
`, name, host, port, protocol, ap.Addr(), ap.Port())
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && strings.Contains(op.Err.Error(), "reset")
}

// authority makes certificates for a test.
type authority struct {
	*ca.Authority
	file string
	sent [][]byte // what servers send behind their own certificate
}

func newAuthority(t testing.TB) *authority { return newAuthorityUnder(t, nil, "test CA") }

// newAuthorityUnder is an authority that another one has signed, nil: itself.
func newAuthorityUnder(t testing.TB, above *authority, name string) *authority {
	t.Helper()
	create := ca.New
	if above != nil {
		create = above.Under
	}
	made, err := create(name)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{Authority: made, file: filepath.Join(t.TempDir(), "ca.pem")}
	writeFile(t, a.file, a.PEM())
	return a
}

func (a *authority) issue(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	c, err := a.Issue(names...)
	if err != nil {
		t.Fatal(err)
	}
	c.Certificate = append(c.Certificate, a.sent...)
	return c
}
