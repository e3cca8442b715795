package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// inquiries draws configurations, and requests and connections to ask about.
type inquiries struct {
	*rand.Rand
	hello map[string][]byte
}

var (
	askedNames = []string{"a.test", "b.test", "c.b.test", "other.test", "x.a.test"}
	askedAddrs = []string{"203.0.113.1", "203.0.113.2", "198.51.100.7", "198.51.100.200"}
)

func oneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// configuration is valid, and full of what overlaps.
func (q *inquiries) configuration() string {
	var b strings.Builder
	egress := "" // a host and port that are there
	for i := range 2 + q.IntN(4) {
		host := oneOf(q.Rand, "a.test", "b.test", "'*.test'", "'*.b.test'", "other.test")
		where := "resolution: STATIC, endpoints: [{address: 192.0.2.9, labels: {v: one}}]"
		if !strings.Contains(host, "*") && q.IntN(3) == 0 {
			where = "resolution: DNS"
		}
		if q.IntN(3) == 0 {
			where += ", addresses: [" + oneOf(q.Rand, "203.0.113.1", "203.0.113.2", "198.51.100.7") + "]"
		}
		protocol, port := oneOf(q.Rand, "HTTP", "HTTP", "TLS", "TCP"), 80+q.IntN(2)
		if !strings.Contains(host, "*") {
			egress = fmt.Sprintf("host: %s, port: {number: %d}", host, port)
		}
		fmt.Fprintf(&b, "\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s%d}\nspec: {hosts: [%s], ports: [{number: %d, name: p, protocol: %s}], %s}\n",
			i, host, port, protocol, where)
	}
	fmt.Fprintf(&b, `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [%s]
  http:
  - {name: one, match: [{uri: {prefix: /one}, method: {exact: POST}}, {uri: {exact: /two}, headers: {x-a: {exact: b}}}], route: [{destination: {host: b.test}, weight: 1}, {destination: {host: gone.test}, weight: 1}]}
  - {name: moved, match: [{uri: {prefix: /moved}}], redirect: {uri: /}}
  - {name: three, match: [{queryParams: {q: {prefix: x}}, port: 81}, {authority: {prefix: x.}}], route: [{destination: {host: a.test, subset: %s}}]}
%s`, oneOf(q.Rand, "a.test", "b.test", "'*.test'"), oneOf(q.Rand, "v1", "none", "gone"), oneOf(q.Rand, "", "  - route: [{destination: {host: a.test}}]\n"))
	b.WriteString(`
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d}
spec: {host: a.test, subsets: [{name: v1, labels: {v: one}}, {name: none, labels: {v: two}}]}
`)
	if egress != "" && q.IntN(3) == 0 {
		b.WriteString("\n---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {" + egress + "}}}\n")
	}
	return b.String()
}

// inquiry is what is asked and the bytes that an application sends.
func (q *inquiries) inquiry() (admin.Inquiry, []byte) {
	port := 80 + q.IntN(2)
	dst := fmt.Sprintf("%s:%d", oneOf(q.Rand, askedAddrs...), port)
	switch q.IntN(4) {
	case 0:
		name := oneOf(q.Rand, askedNames...)
		return admin.Inquiry{Dst: dst, SNI: strings.ToUpper(name)}, q.hello[name]
	case 1:
		return admin.Inquiry{Dst: dst}, []byte("\x00\x01 neither")
	}
	i := admin.Inquiry{Dst: dst, Method: oneOf(q.Rand, "GET", "POST"),
		URL: fmt.Sprintf("http://%s:%d%s", oneOf(q.Rand, append(askedNames, "203.0.113.1", "A.Test.")...), port, oneOf(q.Rand, "/", "/one", "/a/../one", "/two", "/two?q=xy", "/moved", "/?q=x"))}
	if q.IntN(2) == 0 {
		i.Headers = []string{"x-a: b"}
	}
	if q.IntN(5) == 0 {
		i.Headers = append(i.Headers, "Host: "+oneOf(q.Rand, askedNames...))
	}
	return i, i.Head()
}

// TestExplanationsSayWhatHappens explains random requests and connections, then sends
// them, and compares with what the access log has.
func TestExplanationsSayWhatHappens(t *testing.T) {
	t.Parallel()
	for range 12 {
		seed := uint64(time.Now().UnixNano())
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			q := &inquiries{rand.New(rand.NewPCG(seed, 0)), map[string][]byte{}}
			for _, name := range askedNames {
				q.hello[name] = helloFor(t, name)
			}
			explainAndSend(t, q, oneOf(q.Rand, mesh.RegistryOnly, mesh.AllowAny, mesh.Observe), q.configuration())
		})
	}
}

func explainAndSend(t *testing.T, q *inquiries, policy mesh.OutboundPolicy, yaml string) {
	server := tcpServer(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 16<<10))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	var resolver *dns.Resolver
	r := newRig(t, policy, yaml, func(c *proxy.Config) {
		c.Dial = func(ctx context.Context, _ netip.AddrPort) (*net.TCPConn, error) {
			to, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
			if err != nil {
				return nil, err
			}
			return to.(*net.TCPConn), nil
		}
		resolver = c.Resolver
	})
	for i, name := range askedNames { // known, so that nothing has to be looked up
		r.names.Store(name, []string{askedAddrs[i%len(askedAddrs)]})
		if _, err := resolver.Lookup(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	said := map[string]string{}
	want, noted := map[string][]string{}, map[string]bool{}
	for range 60 {
		i, bytes := q.inquiry()
		inquiry, err := i.Read()
		if err != nil {
			t.Fatal(err)
		}
		owners := r.server.Owners(inquiry.Dst.Addr())
		inquiry.Owners = owners
		e := r.server.View().Explain(inquiry)
		if len(owners.Unknown) > 0 {
			t.Errorf("%+v: unknown are %q", i, owners.Unknown)
		}
		r.to(i.Dst)
		c := r.dial()
		c.Write(bytes)
		c.CloseWrite()
		io.Copy(io.Discard, c)
		key := c.LocalAddr().String()
		c.Close()
		said[key], want[key], noted[key] = fmt.Sprintf("%+v: %+v", i, e), outcomes(&e), e.WouldRefuse
	}
	for _, line := range r.finish() {
		key := fmt.Sprint(line["downstream_remote_address"])
		got := fmt.Sprint(line["upstream_cluster"])
		if line["upstream_cluster"] == nil || line["upstream_cluster"] == "" {
			got = fmt.Sprint(line["response_code"])
		}
		if !slices.Contains(want[key], got) {
			t.Errorf("%s\nwant one of %q, got %q: %v\nin%s", said[key], want[key], got, line, yaml)
		}
		if _, observed := line["would_refuse"]; observed != noted[key] {
			t.Errorf("%s\nwould refuse: %t, but %v\nin%s", said[key], noted[key], line, yaml)
		}
		delete(want, key)
	}
	for key := range want {
		t.Errorf("%s: not logged", said[key])
	}
}

// outcomes are the clusters, or the statuses, that an explanation leaves open.
func outcomes(e *mesh.Explanation) []string {
	switch {
	case e.Fate == mesh.Passes:
		return []string{"PassthroughCluster"}
	case e.Fate == mesh.Unregistered: // what is not HTTP on a port that has HTTP only is answered 400
		return []string{"BlackHoleCluster", "400"}
	case e.Fate == mesh.Unrouted:
		return []string{"404"}
	}
	var out []string
	for _, d := range e.Destinations() {
		out = append(out, d.Cluster.Name)
	}
	if len(out) == 0 {
		out = []string{"301"}
	}
	return out
}
