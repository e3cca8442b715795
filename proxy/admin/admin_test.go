package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/vip"
)

const someYAML = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.test]
  addresses: [192.0.2.0/24]
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 198.51.100.1}, {address: 198.51.100.2, weight: 3}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.test]
  http:
  - name: slow
    match: [{uri: {prefix: /slow}}]
    timeout: 3s
    route: [{destination: {host: api.test}, weight: 30}, {destination: {host: gone.test}, weight: 70}]
  - route: [{destination: {host: api.test}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api}
spec:
  host: api.test
  trafficPolicy: {tls: {mode: SIMPLE}}
`

// told is a Proxy that says what it is told to.
type told struct {
	view        *mesh.View
	connections []proxy.ConnectionStatus
	pools       []proxy.Pool
	manner      proxy.Manner
}

func (p *told) View() *mesh.View        { return p.view }
func (p *told) Workload() mesh.Workload { return mesh.Workload{Namespace: "shop", Name: "cart"} }
func (p *told) Ready() error            { return errors.New("stopping") }
func (p *told) Pools() []proxy.Pool     { return p.pools }

func (p *told) Endpoints(c *mesh.Cluster) []proxy.EndpointStatus {
	if len(c.Endpoints) == 0 {
		return []proxy.EndpointStatus{{Name: c.Host, Port: c.TargetPort, Known: true, Err: errors.New("no such name")}}
	}
	var out []proxy.EndpointStatus
	for _, e := range c.Endpoints {
		out = append(out, proxy.EndpointStatus{Addr: e.Addr, Port: e.Port, Weight: e.Weight, Known: true})
	}
	return out
}

func (p *told) Connections(limit int) ([]proxy.ConnectionStatus, int) {
	return p.connections[:min(limit, len(p.connections))], len(p.connections)
}

func (p *told) Owners(dst netip.Addr) *proxy.Owners { return Files{}.Owners(dst) }

func (p *told) Addresses(string) []netip.Addr { return nil }

func (p *told) Manner(netip.AddrPort) proxy.Manner { return p.manner }

// serve answers for p at a socket of its own.
func serve(t *testing.T, p Proxy) Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Server{Proxy: p, Version: "1", Command: "proxy", Log: slog.New(slog.DiscardHandler)}.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return Client{Path: path}
}

func viewOf(t *testing.T, yaml string) *mesh.View {
	t.Helper()
	return viewWith(t, yaml, mesh.Options{})
}

func viewWith(t *testing.T, yaml string, options mesh.Options) *mesh.View {
	t.Helper()
	resources, issues := mesh.Decode("egress.yaml", []byte(yaml), mesh.DecodeOptions{Namespace: "default"})
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	snapshot, _ := mesh.Build(resources, options)
	return snapshot.View(mesh.Workload{})
}

func ask[T any](t *testing.T, c Client, path string, q Question) (out T) {
	t.Helper()
	if err := c.Ask(context.Background(), path, q, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatIsInForceIsTold(t *testing.T) {
	t.Parallel()
	view := viewOf(t, someYAML)
	p := &told{view: view}
	for _, c := range view.Clusters() {
		if c.TLS != nil {
			p.pools = append(p.pools, proxy.Pool{Cluster: c.Name, Fingerprint: c.Fingerprint, Active: 1, Idle: 2})
		}
	}
	p.pools = append(p.pools, proxy.Pool{Cluster: "outbound|80||old.test", Active: 1}, proxy.Pool{Cluster: "PassthroughCluster", Idle: 1})
	c := serve(t, p)

	var got strings.Builder
	for _, r := range ask[List[Route]](t, c, RoutesPath, Question{}).Items {
		fmt.Fprintln(&got, r.Port, r.Traffic, r.Host, r.Subnets, r.Name, r.Match, r.Destinations, r.Does, r.Source.Place())
	}
	for _, k := range ask[List[Cluster]](t, c, ClustersPath, Question{}).Items {
		fmt.Fprintln(&got, k.Name, k.Protocol, k.Resolution, k.Endpoints, k.TLS, k.Unknown, k.Leaving, k.Active, k.Idle, k.Source.Place(), k.Policy.Place())
	}
	for _, e := range ask[List[Endpoint]](t, c, EndpointsPath, Question{}).Items {
		fmt.Fprintln(&got, e.Cluster, e.Name, e.Address, e.Port, e.State, e.Error, e.Weight)
	}
	s := ask[Status](t, c, StatusPath, Question{})
	fmt.Fprintln(&got, s.Version, s.Command, s.Namespace, s.Workload, s.Policy, s.NotReady)
	want := `80 http api.test [] slow [uri prefix "/slow"] [{outbound|80||api.test 30} {outbound|80||gone.test 70}] [timeout 3s] egress.yaml:26
80 http api.test []  [] [{outbound|80||api.test 0}] [] egress.yaml:30
80 tls api.test [] default [] [{outbound|80||api.test 0}] [] egress.yaml:2
5432 tcp  [192.0.2.0/24] default [] [{outbound|5432||db.test 0}] [] egress.yaml:10
outbound|80||api.test HTTP DNS 0 SIMPLE false false 1 2 egress.yaml:2 egress.yaml:32
outbound|80||api.test HTTP DNS 0 DISABLE false false 0 0 egress.yaml:2 egress.yaml:32
outbound|5432||db.test TCP STATIC 2 DISABLE false false 0 0 egress.yaml:10 
outbound|80||gone.test   0 DISABLE true false 0 0  
PassthroughCluster   0  false false 0 1  
outbound|80||old.test   0  false true 1 0  
outbound|80||api.test api.test  80 failed no such name 0
outbound|5432||db.test  198.51.100.1 5432 static  1
outbound|5432||db.test  198.51.100.2 5432 static  3
1 proxy shop cart REGISTRY_ONLY stopping
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnswersAreNarrowedAndBounded(t *testing.T) {
	t.Parallel()
	p := &told{view: viewOf(t, someYAML)}
	for i := range 50 {
		p.connections = append(p.connections, proxy.ConnectionStatus{
			Source:      netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1000+i)),
			Destination: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), uint16(80+i%2)),
			Protocol:    "tls", ServerName: strings.Repeat("x", 1000), Since: time.Now(),
		})
	}
	c := serve(t, p)
	if r := ask[List[Route]](t, c, RoutesPath, Question{Host: "api", Port: 80, Limit: 2}); len(r.Items) != 2 || r.More != 1 {
		t.Errorf("%d routes and %d more", len(r.Items), r.More)
	}
	if r := ask[List[Route]](t, c, RoutesPath, Question{Host: "nobody"}); r.Items == nil || len(r.Items) != 0 || r.More != 0 {
		t.Errorf("of nobody: %v", r)
	}
	got := ask[List[Connection]](t, c, ConnectionsPath, Question{Port: 80, Limit: 10})
	if len(got.Items) != 10 || got.More != 15 || len(got.Items[0].ServerName) != maxServerName {
		t.Errorf("%d connections and %d more: %v", len(got.Items), got.More, got.Items)
	}
}

func TestBadQuestionsAreSaidToBe(t *testing.T) {
	t.Parallel()
	c := serve(t, &told{})
	for path, want := range map[string]string{
		RoutesPath + "?port=x":   `port "x": not a port`,
		RoutesPath + "?limit=-1": `limit "-1": not a number of items`,
		"/v1/nothing":            "404",
	} {
		request, err := http.NewRequest(http.MethodGet, "http://proxy"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = c.do(request, new(List[Route]))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if r := ask[List[Route]](t, c, RoutesPath, Question{}); len(r.Items) != 0 {
		t.Errorf("without a configuration: %v", r)
	}
}

func TestARunningProxyExplains(t *testing.T) {
	t.Parallel()
	c := serve(t, &told{view: viewOf(t, someYAML)})
	e, err := c.Explain(context.Background(), Inquiry{URL: "http://api.test/slow"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Allowed || len(e.Destinations) != 2 || e.Destinations[0].Share != 0.3 || e.Destinations[1].Refused == "" ||
		e.Answer != "refused: 503 (UH): no endpoint has an address; 503 (NC): nobody registers gone.test on port 80" {
		t.Errorf("%+v", e)
	}
	files, err := Explain(viewOf(t, someYAML), Files{}, Inquiry{URL: "http://api.test/slow"})
	if want := "allowed: to outbound|80||api.test; some is refused: 503 (NC): nobody registers gone.test on port 80"; err != nil || !files.Allowed || files.Answer != want {
		t.Errorf("by files: %+v, %v", files, err)
	}
	if got := e.Destinations[0].Endpoints; len(got) != 1 || got[0].State != FailedEndpoint {
		t.Errorf("endpoints: %+v", got)
	}
	if _, err := c.Explain(context.Background(), Inquiry{URL: "http://"}); err == nil || !strings.Contains(err.Error(), "not a URL") {
		t.Errorf("a URL without a host: %v", err)
	}
	if _, err := serve(t, &told{}).Explain(context.Background(), Inquiry{Dst: "1.2.3.4:5"}); err == nil || !strings.Contains(err.Error(), "no configuration is in force") {
		t.Errorf("without a configuration: %v", err)
	}
}

func TestAProxysOwnSettingsAreExplained(t *testing.T) {
	t.Parallel()
	view := viewOf(t, someYAML)
	for manner, want := range map[proxy.Manner]string{
		{}:                   "refused: the connection is reset, not registered",
		{Ungoverned: true}:   "allowed: it is relayed as it is, since no policy applies to the address",
		{RefusesNoSNI: true}: "refused: the connection is reset, TLS without a server name (--refuse-tls without-sni)",
	} {
		e, err := Explain(view, &told{manner: manner}, Inquiry{URL: "https://203.0.113.7/"})
		if err != nil || e.Answer != want || e.Allowed != manner.Ungoverned {
			t.Errorf("%+v: %+v, %v", manner, e, err)
		}
	}
}

// A pod without dnsCapture is given no virtual address.
func TestVirtualAddressesAreShownToWhomTheyAreGiven(t *testing.T) {
	t.Parallel()
	const text = "240.240.0.7"
	view := viewWith(t, `{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: db},
  spec: {hosts: [db.test], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}}`,
		mesh.Options{Virtual: func([]vip.Wanted) map[string][]netip.Addr {
			return map[string][]netip.Addr{"db.test": {netip.MustParseAddr(text)}}
		}})
	for _, hidden := range []bool{false, true} {
		p := &told{view: view, manner: proxy.Manner{NoVirtual: hidden}}
		e, err := Explain(view, p, Inquiry{URL: "http://db.test:5432/"})
		if err != nil {
			t.Fatal(err)
		}
		routes := ask[List[Route]](t, serve(t, p), RoutesPath, Question{}).Items
		if strings.Contains(fmt.Sprint(e.Steps), text) == hidden || strings.Contains(fmt.Sprint(routes), text) == hidden || len(routes) == 0 {
			t.Errorf("hidden %v: %+v, %+v", hidden, e.Steps, routes)
		}
	}
}

func TestEndpointsThatAreAllLeftOutAreExplained(t *testing.T) {
	t.Parallel()
	ejected := proxy.EndpointStatus{Addr: netip.MustParseAddr("192.0.2.1"), Live: proxy.LiveEndpoint{EjectedUntil: time.Now().Add(time.Hour)}}
	failed := proxy.EndpointStatus{Name: "a.test", Known: true, Err: errors.New("no such name")}
	fine := proxy.EndpointStatus{Addr: netip.MustParseAddr("192.0.2.2")}
	c := &mesh.Cluster{}
	for _, test := range []struct {
		all  []proxy.EndpointStatus
		want string
	}{
		{nil, ""},
		{[]proxy.EndpointStatus{ejected, fine}, ""},
		{[]proxy.EndpointStatus{failed}, "503 (UH): no endpoint has an address"},
		{[]proxy.EndpointStatus{ejected, ejected, failed}, "503 (UH): outlier detection leaves all endpoints out"},
	} {
		if got := unreachable(c, true, test.all); got != test.want {
			t.Errorf("%+v: %q, want %q", test.all, got, test.want)
		}
	}
	c.Outlier = &mesh.Outlier{MinHealth: 1}
	if got := unreachable(c, true, []proxy.EndpointStatus{ejected}); got != "" {
		t.Errorf("below minHealthPercent: %q", got)
	}
}

func TestWhatIsKnownOfNamesIsExplained(t *testing.T) {
	t.Parallel()
	looked := map[string]bool{}
	files := Files{Look: func(name string) (dns.Known, bool) {
		looked[name] = true
		return dns.Known{Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.9")}}, true
	}}
	e, err := Explain(viewOf(t, someYAML), files, Inquiry{URL: "http://api.test/"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Steps[0].Says != "203.0.113.9, which DNS has for api.test" || len(e.Destinations) != 1 || len(e.Destinations[0].Endpoints) != 1 ||
		e.Destinations[0].Endpoints[0].State != ResolvedEndpoint || !looked["api.test"] {
		t.Errorf("%+v; looked at %v", e, looked)
	}
}

// FuzzInquiry: whatever is asked, the answer is an error or an explanation.
func FuzzInquiry(f *testing.F) {
	f.Add("http://api.test:80/slow?a=b", "POST", "x-a: b", "", "")
	f.Add("https://[::1]/", "", "", "192.0.2.7:443", "a.test")
	f.Add("", "", "", "[2001:db8::1%1]:5432", "*.x")
	f.Add("http://a b/\r\n", "G ET", "Host:\r\nx", "1.2.3.4", ".")
	resources, _ := mesh.Decode("egress.yaml", []byte(someYAML), mesh.DecodeOptions{Namespace: "default"})
	snapshot, _ := mesh.Build(resources, mesh.Options{})
	view := snapshot.View(mesh.Workload{})
	f.Fuzz(func(t *testing.T, url, method, header, dst, sni string) {
		i := Inquiry{URL: url, Method: method, Dst: dst, SNI: sni}
		if header != "" {
			i.Headers = []string{header}
		}
		if e, err := Explain(view, Files{}, i); (e == nil) == (err == nil) {
			t.Errorf("%+v: %+v, %v", i, e, err)
		}
	})
}
