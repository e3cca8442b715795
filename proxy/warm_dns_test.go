package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// A DNS server that takes its time costs the first request, and no other: those
// that come while it is silent, before the TTL's end and after, are all answered
// before it speaks. No clock decides: the machine may be busy.
func TestASlowDNSServerIsNotOnTheWayOfWarmRequests(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(up.Close)
	const ttl = time.Second
	var asked, answered atomic.Int32
	answer := make(chan struct{}) // each receives once; closed: no waiting
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	os.WriteFile(resolv, []byte("nameserver 192.0.2.53\noptions timeout:30 attempts:1\n"), 0o644)
	exchange := func(ctx context.Context, q *mdns.Msg, _ string) (*mdns.Msg, error) {
		m := new(mdns.Msg).SetReply(q)
		if q.Question[0].Qtype != mdns.TypeA {
			return m, nil
		}
		asked.Add(1)
		select {
		case <-answer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		rr, _ := mdns.NewRR(fmt.Sprintf("%s %d IN A 127.0.0.1", q.Question[0].Name, int(ttl/time.Second)))
		m.Answer = append(m.Answer, rr)
		answered.Add(1)
		return m, nil
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(up.URL, "http://"))
	r := newRig(t, mesh.RegistryOnly, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %s}]
  resolution: DNS
`, port), func(c *proxy.Config) {
		c.Resolver = dns.New(dns.Config{ResolvConf: resolv, Hosts: os.DevNull, Exchange: exchange})
	})
	client := r.client()
	get := func() time.Duration {
		start := time.Now()
		resp, err := client.Get("http://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		return time.Since(start)
	}
	go func() { answer <- struct{}{} }()
	get()
	known := time.Now()
	for asked.Load() < 2 { // in use, so that it is renewed
		get()
	}
	quick, slow := 0, 0
	for time.Since(known) < 3*ttl || quick+slow < 50 {
		if get() < 250*time.Millisecond {
			quick++
		} else {
			slow++
		}
	}
	if n := answered.Load(); n != 1 {
		t.Errorf("DNS has answered %d times, want once: the claim is about its silence", n)
	}
	if slow > quick { // as each would be that waits a while for DNS before it goes on
		t.Errorf("%d of %d requests took more than 250 ms", slow, slow+quick)
	}
	close(answer)
	for asked.Load() < 4 {
		get()
	}
}
