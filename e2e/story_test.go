package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/egresspage"
	"github.com/sluice-cni/sluice/mesh"
)

func (p *pod) get(family, url string) (int, string) {
	p.T.Helper()
	resp, err := p.client(family).Get(url)
	if err != nil {
		p.T.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(p.T, err)
	return resp.StatusCode, string(body)
}

func (p *pod) status(url string) int {
	p.T.Helper()
	code, _ := p.get("IPv4", url)
	return code
}

// read connects and reads until the end. A refusal can arrive while connect is
// still under way: the proxy resets a connection as soon as it is accepted.
func (p *pod) read(address string) (string, error) {
	c, err := p.NS.Dial(context.Background(), "tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	return string(got), err
}

func TestTheStoryOfThePage(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, mesh.RegistryOnly, nil)
			if code, body := p.get(family, "http://httpbin.org/headers"); code != 502 || body != "" {
				t.Errorf("before anything is registered: %d %q", code, body)
			}
			p.Write("httpbin.yaml", egresspage.HTTPBin)
			await.True(t, "httpbin-ext is in force", func() bool { code, _ := p.get(family, "http://httpbin.org/headers"); return code == 200 })
			_, body := p.get(family, "http://httpbin.org/headers")
			if !strings.Contains(body, "host=httpbin.org sni=plain from=") {
				t.Errorf("got %q", body)
			}
			p.Write("google.yaml", strings.TrimRight(egresspage.Google, "\n")+"\n      caCertificates: "+p.net.CA+"\n")
			await.True(t, "google-ext is in force", func() bool { code, _ := p.get(family, "http://www.google.com:443/"); return code == 200 })
			if _, body := p.get(family, "http://www.google.com:443/"); !strings.Contains(body, "host=www.google.com:443 sni=www.google.com") {
				t.Errorf("got %q", body)
			}
			if code, _ := p.get(family, "http://httpbin.org/delay/1.5"); code != 200 {
				t.Errorf("without a timeout: %d", code)
			}
			p.Write("timeout.yaml", strings.Replace(egresspage.Timeout, "3s", "500ms", 1))
			await.True(t, "the timeout is in force", func() bool {
				code, body := p.get(family, "http://httpbin.org/delay/1.5")
				return code == 504 && body == "upstream request timeout"
			})
		})
	}
}

func TestConnectionsLeaveFromThePodsOwnAddress(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, nil)
	p.Write("a.yaml", egresspage.HTTPBin)
	await.True(t, "httpbin-ext is in force", func() bool { return p.status("http://httpbin.org/") == 200 })
	if _, body := p.get("IPv4", "http://httpbin.org/"); !strings.Contains(body, "from=10.1.1.2:") {
		t.Errorf("got %q", body)
	}
}

func TestUnregisteredTLSAndTCPAreReset(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, nil)
	for _, family := range []string{"IPv4", "IPv6"} {
		c, err := p.NS.Dial(context.Background(), "tcp", net.JoinHostPort(p.net.Lookup("www.google.com", family), "443"))
		must(t, err)
		err = tls.Client(c, &tls.Config{ServerName: "www.google.com", InsecureSkipVerify: true}).Handshake()
		if !isRefused(err) {
			t.Errorf("%s TLS: %v", family, err)
		}
		got, err := p.read(net.JoinHostPort(p.net.Lookup("db.example.com", family), "5432"))
		if !isRefused(err) {
			t.Errorf("%s TCP: %q %v", family, got, err)
		}
	}
}

func TestAllowAnyLetsEverythingThrough(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.AllowAny, nil)
	if code := p.status("http://elsewhere.net/"); code != 200 {
		t.Errorf("HTTP: %d", code)
	}
	c, err := p.NS.Dial(context.Background(), "tcp", p.net.Lookup("db.example.com", "IPv4")+":5432")
	must(t, err)
	if got, err := io.ReadAll(c); !strings.HasPrefix(string(got), "welcome") || err != nil {
		t.Errorf("a server that speaks first: %q %v", got, err)
	}
}

func TestTCPGoesOnlyToTheRegisteredNamesAddresses(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, nil)
	p.Write("db.yaml", `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  ports: [{number: 5432, name: tcp, protocol: TCP}]
`)
	at := func(name string) string { return p.net.Lookup(name, "IPv4") + ":5432" }
	await.True(t, "db is in force", func() bool { got, _ := p.read(at("db.example.com")); return got != "" })
	if got, err := p.read(at("elsewhere.net")); !isRefused(err) {
		t.Errorf("an address nobody registered: %q %v", got, err)
	}
}

func TestALyingHostHeaderReachesTheNamesOwnServer(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, nil)
	p.Write("a.yaml", egresspage.HTTPBin)
	await.True(t, "httpbin-ext is in force", func() bool { return p.status("http://httpbin.org/") == 200 })
	own := 0
	p.net.serveHTTP(t, net.JoinHostPort(names["db.example.com"][0], "80"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { own++ }))
	c, err := p.NS.Dial(context.Background(), "tcp", p.net.Lookup("db.example.com", "IPv4")+":80")
	must(t, err)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: httpbin.org\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(got), "host=httpbin.org") || own != 0 {
		t.Errorf("%q %v; the stranger was reached %d times", got, err, own)
	}
}

func TestWithTheProxyGoneRedirectedConnectionsAreRefusedAndExcludedOnesPass(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, map[string]string{"excludeIPRanges": "203.0.113.40/32, 2001:db8::40"})
	for _, family := range []string{"IPv4", "IPv6"} {
		if code, _ := p.get(family, "http://elsewhere.net/"); code != 200 {
			t.Errorf("%s, an excluded range with the proxy up: %d", family, code)
		}
	}
	p.Stop()
	for _, family := range []string{"IPv4", "IPv6"} {
		if _, err := p.client(family).Get("http://httpbin.org/"); !isRefused(err) {
			t.Errorf("%s, captured with the proxy gone: %v", family, err)
		}
		if code, _ := p.get(family, "http://elsewhere.net/"); code != 200 {
			t.Errorf("%s, an excluded range with the proxy gone: %d", family, code)
		}
	}
}

func TestChangingYAMLUnder200ConcurrentRequestsDropsNone(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, nil)
	p.Write("a.yaml", egresspage.HTTPBin)
	await.True(t, "httpbin-ext is in force", func() bool { return p.status("http://httpbin.org/") == 200 })
	client := p.client("IPv4")
	stop := make(chan struct{})
	var done atomic.Int64
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Get("http://httpbin.org/")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 || err != nil || !strings.HasPrefix(string(body), "host=httpbin.org") {
					t.Errorf("%d %q %v", resp.StatusCode, body, err)
					return
				}
				done.Add(1)
			}
		})
	}
	for i := range 10 {
		before, changes := done.Load(), p.Changes()
		resolution := []string{"DNS", "NONE"}[i%2]
		p.Write("a.yaml", egresspage.HTTPBin+"  resolution: "+resolution+"\n")
		p.Write("other.yaml", strings.ReplaceAll(strings.ReplaceAll(egresspage.HTTPBin, "httpbin-ext", "other"), "httpbin.org", fmt.Sprintf("other%d.example.com", i)))
		await.True(t, "requests pass between two changes", func() bool { return done.Load() > before+300 || t.Failed() })
		await.True(t, "the change is in force", func() bool { return p.Changes() > changes || t.Failed() })
	}
	close(stop)
	all.Wait()
	t.Logf("%d requests", done.Load())
}

func TestABadFileKeepsItsLastGoodContentAndOthersGoOn(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, nil)
	p.Write("a.yaml", egresspage.HTTPBin)
	await.True(t, "httpbin-ext is in force", func() bool { return p.status("http://httpbin.org/") == 200 })
	p.Write("a.yaml", strings.Replace(egresspage.HTTPBin, "hosts:", "hots:", 1))
	p.Write("b.yaml", strings.ReplaceAll(strings.ReplaceAll(egresspage.HTTPBin, "httpbin-ext", "elsewhere"), "httpbin.org", "elsewhere.net"))
	await.True(t, "the other file is in force", func() bool { return p.status("http://elsewhere.net/") == 200 })
	if code := p.status("http://httpbin.org/"); code != 200 {
		t.Errorf("the bad file's last good content: %d", code)
	}
}
