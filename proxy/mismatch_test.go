package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// webAt serves on a loopback address and counts.
func webAt(t *testing.T, address, body string) (port string, count *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	count = new(atomic.Int32)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		count.Add(1)
		io.WriteString(w, body)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, count
}

func none(host, protocol, port string, more ...string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%q]
  ports: [{number: %s, name: p, protocol: %s}]
  resolution: NONE
%s`, strings.Trim(strings.ReplaceAll(host, "*", "any"), "."), host, port, protocol, strings.Join(more, ""))
}

// With resolution NONE the destination must be the name's. These two addresses of
// loopback stand for the name's own server and a stranger.
func TestAMismatchIsRedirectedOrRefusedByOption(t *testing.T) {
	t.Parallel()
	port, own := webAt(t, "127.0.0.2:0", "own")
	_, stranger := webAt(t, "127.0.0.3:"+port, "stranger")
	for option, want := range map[proxy.AddressMismatch]string{proxy.MismatchRedirect: "200 own", proxy.MismatchRefuse: "502 "} {
		for what, yaml := range map[string]string{
			"own lookup": none("a.test", "HTTP", port),
			"a wildcard": none("*.test", "HTTP", port),
			"addresses":  none("a.test", "HTTP", port, "  addresses: [127.0.0.2]\n"),
		} {
			r := newRig(t, mesh.RegistryOnly, yaml, func(c *proxy.Config) { c.AddressMismatch = option })
			r.names.Store("a.test", []string{"127.0.0.2"})
			r.to("127.0.0.3:" + port)
			if resp, body := r.get("http://a.test/"); fmt.Sprint(resp.StatusCode, " ", body) != want {
				t.Errorf("option %d, %s, sent elsewhere: %d %q", option, what, resp.StatusCode, body)
			}
			for _, says := range map[proxy.AddressMismatch][]string{
				proxy.MismatchRedirect: {"msg=\"redirected: the destination is not", "upstream=127.0.0.2:" + port},
				proxy.MismatchRefuse:   {"msg=\"refused: the destination is not"},
			}[option] {
				await.Silence(t, func() string {
					if log := r.log.String(); !strings.Contains(log, says) || !strings.Contains(log, "destination=127.0.0.3:"+port) {
						return fmt.Sprintf("option %d, %s: the log does not say %q: %s", option, what, says, log)
					}
					return ""
				})
			}
			r.to("127.0.0.2:" + port)
			if resp, body := r.get("http://a.test/"); resp.StatusCode != 200 || body != "own" {
				t.Errorf("option %d, %s, sent to the name's own address: %d %q", option, what, resp.StatusCode, body)
			}
		}
	}
	if own.Load() != 9 || stranger.Load() != 0 {
		t.Errorf("own %d, stranger %d", own.Load(), stranger.Load())
	}
}

// A route may send a request to another service's port: resolution NONE does not
// carry the request's port along.
func TestARoutedRequestGoesToThePortOfItsCluster(t *testing.T) {
	t.Parallel()
	port, _ := webAt(t, "127.0.0.2:0", "routed")
	r := newRig(t, mesh.RegistryOnly, none("a.test", "HTTP", "80")+"\n---"+none("b.test", "HTTP", port)+`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http: [{route: [{destination: {host: b.test, port: {number: `+port+`}}}]}]
`)
	r.names.Store("b.test", []string{"127.0.0.2"})
	r.to("127.0.0.2:80")
	if resp, body := r.get("http://a.test/"); body != "routed" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestDNSLeadsToNoUnsafeAddress(t *testing.T) {
	t.Parallel()
	port, reached := webAt(t, "127.0.0.1:0", "inside")
	entries := map[string]string{
		"NONE":           none("a.test", "HTTP", port),
		"NONE, wildcard": none("*.test", "HTTP", port),
		"DNS":            strings.Replace(none("a.test", "HTTP", port), "NONE", "DNS", 1),
		"endpoint":       strings.Replace(none("a.test", "HTTP", port), "NONE", "DNS\n  endpoints: [{address: a.test}]", 1),
	}
	for what, yaml := range entries {
		r := newRig(t, mesh.RegistryOnly, yaml, func(c *proxy.Config) { c.UnsafeRanges = nil })
		r.names.Store("a.test", []string{"127.0.0.1"})
		for _, dst := range []string{"127.0.0.1:", "203.0.113.1:"} {
			r.to(dst + port)
			if resp, _ := r.get("http://a.test/"); resp.StatusCode != 502 {
				t.Errorf("%s, sent to %s: %d", what, dst, resp.StatusCode)
			}
		}
		await.Silence(t, func() string {
			if log := r.log.String(); !strings.Contains(log, "a.test is 127.0.0.1") || !strings.Contains(log, "reason=unsafe_address") {
				return what + ": the log does not say it: " + log
			}
			return ""
		})
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("reached %d times", n)
	}
	for what, yaml := range map[string]string{
		"listed in addresses": none("a.test", "HTTP", port, "  addresses: [127.0.0.1]\n"),
		"written as endpoint": static("a", "a.test", "HTTP", mustPort(port), "127.0.0.1:"+port),
	} {
		r := newRig(t, mesh.RegistryOnly, yaml, func(c *proxy.Config) { c.UnsafeRanges = nil })
		r.to("127.0.0.1:" + port)
		if resp, body := r.get("http://a.test/"); body != "inside" {
			t.Errorf("%s: %d %q", what, resp.StatusCode, body)
		}
	}
	// Of several addresses the others are used.
	safe, _ := webAt(t, "127.0.0.2:"+port, "outside")
	r := newRig(t, mesh.RegistryOnly, entries["DNS"], func(c *proxy.Config) {
		c.UnsafeRanges = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	r.names.Store("a.test", []string{"127.0.0.1", "127.0.0.2"})
	r.to("203.0.113.1:" + safe)
	for range 4 {
		if resp, body := r.get("http://a.test/"); body != "outside" {
			t.Errorf("beside an unsafe one: %d %q", resp.StatusCode, body)
		}
	}
}

func mustPort(port string) (n int) {
	fmt.Sscan(port, &n)
	return n
}

// Every address that DNS gives is used, and one that cannot be connected to costs a
// retry, not the request.
func TestLoadIsSpreadOverTheAddressesOfANameAndDeadOnesArePassedOver(t *testing.T) {
	t.Parallel()
	port, first := webAt(t, "127.0.0.2:0", "2")
	_, second := webAt(t, "127.0.0.3:"+port, "3")
	r := newRig(t, mesh.RegistryOnly, strings.Replace(none("a.test", "HTTP", port), "NONE", "DNS", 1))
	r.names.Store("a.test", []string{"127.0.0.4", "127.0.0.2", "127.0.0.3"})
	r.to("203.0.113.1:" + port)
	for range 60 {
		if resp, body := r.get("http://a.test/"); resp.StatusCode != 200 {
			t.Fatalf("%d %q", resp.StatusCode, body)
		}
	}
	if first.Load() < 12 || second.Load() < 12 {
		t.Errorf("%d and %d", first.Load(), second.Load())
	}
}

func TestAServerNameThatIsNoHostNameMatchesNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := newRig(t, mesh.RegistryOnly, none("*.test", "TLS", port)+"\n---"+none("kube.test", "TLS", port))
	for _, name := range []string{`a\.test`, "a b.test", "\u212aube.test", "a..test", strings.Repeat("a", 64) + ".test"} {
		r.names.Store(name, []string{"127.0.0.1"})
		r.to("127.0.0.1:" + port)
		c := r.dial()
		err := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
		if err == nil || !isReset(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
