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
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// A DNS server that takes its time costs the first request, and no other: not even
// those at the instant when the TTL ends.
func TestASlowDNSServerIsNotOnTheWayOfWarmRequests(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(up.Close)
	const slow = 2 * time.Second
	var asked atomic.Int32
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	os.WriteFile(resolv, []byte("nameserver 192.0.2.53\noptions timeout:5\n"), 0o644)
	exchange := func(ctx context.Context, q *mdns.Msg, _ string) (*mdns.Msg, error) {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		m := new(mdns.Msg).SetReply(q)
		if q.Question[0].Qtype == mdns.TypeA {
			asked.Add(1)
			rr, _ := mdns.NewRR(q.Question[0].Name + " 1 IN A 127.0.0.1")
			m.Answer = append(m.Answer, rr)
		}
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
	var took []time.Duration
	for end := time.Now().Add(9 * time.Second); time.Now().Before(end); {
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
		took = append(took, time.Since(start))
		time.Sleep(2 * time.Millisecond)
	}
	cold, warm := took[0], took[1:]
	slices.Sort(warm)
	p99 := warm[len(warm)*99/100]
	t.Logf("cold %v; %d warm, p99 %v, slowest %v; %d questions", cold, len(warm), p99, warm[len(warm)-1], asked.Load())
	if cold < slow {
		t.Errorf("the first request took %v, less than the DNS server takes", cold)
	}
	if p99 > slow/4 || warm[len(warm)-1] > slow*3/4 { // the machine may be busy
		t.Errorf("p99 %v, slowest %v", p99, warm[len(warm)-1])
	}
	if n := asked.Load(); n < 2 || n > 10 {
		t.Errorf("%d questions in 9 s with a TTL of 1 s", n)
	}
}
