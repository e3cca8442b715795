package mesh

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// withServices is a snapshot of Services and of what is written beside them.
func withServices(t *testing.T, yaml string, services ...Service) *Snapshot {
	t.Helper()
	resources, issues := Decode("test.yaml", []byte(yaml), DecodeOptions{})
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	for _, s := range services { // after all others, which they nevertheless precede
		r, issues := FromService(s, "")
		if r == nil {
			t.Fatal(issues)
		}
		resources = append(resources, r)
	}
	s, _ := Build(resources, Options{})
	return s
}

func TestAServiceIsReachedByItsClusterIPs(t *testing.T) {
	t.Parallel()
	s := withServices(t, "", Service{Namespace: "shop", Name: "web", Addresses: addrs("10.96.0.1", "fd00::1"),
		Ports: []ServicePort{{Name: "http-main", Port: 80}, {Name: "db", Port: 5432, AppProtocol: "tcp"}}})
	v := s.View(Workload{Namespace: "other"})
	vh := v.Listener(80).MatchHTTP([]byte("web.shop.svc.cluster.local"))
	if vh == nil {
		t.Fatal("not registered")
	}
	c := vh.Routes[0].Destinations[0].Cluster
	if c.Resolution != ResolveStatic || len(c.Endpoints) != 2 || c.Endpoints[0].Addr.String() != "10.96.0.1" || c.Endpoints[0].Port != 80 || c.External {
		t.Errorf("%+v", c)
	}
	if v.Listener(80).MatchHTTP([]byte("10.96.0.1")) == nil {
		t.Error("its address as a Host is not its")
	}
	for _, a := range addrs("10.96.0.1", "fd00::1") {
		if v.Listener(5432).AddressedTCP(a) == nil {
			t.Errorf("%s is not its", a)
		}
	}
	if v.Listener(5432).AddressedTCP(netip.MustParseAddr("10.96.0.2")) != nil {
		t.Error("another's address is its")
	}
	if n := v.Name("web.shop.svc.cluster.local"); n == nil || len(n.Addresses) != 2 || n.Virtual {
		t.Errorf("%+v", n)
	}
}

func TestAHeadlessServiceIsItsReadyEndpoints(t *testing.T) {
	t.Parallel()
	ports := []ServicePort{{Name: "http", Port: 80, Target: 8080}, {Name: "peer", Port: 7000}}
	s := withServices(t, "", Service{Namespace: "shop", Name: "db", Endpoints: addrs("10.1.0.1", "10.1.0.2"), Ports: ports},
		Service{Namespace: "shop", Name: "empty", Ports: ports})
	v := s.View(Workload{Namespace: "shop"})
	for _, port := range []uint16{80, 8080} {
		for _, host := range []string{"db.shop.svc.cluster.local", "db-0.db.shop.svc.cluster.local"} {
			vh := v.Listener(port).MatchHTTP([]byte(host))
			if vh == nil {
				t.Fatalf("%s:%d is not registered", host, port)
			}
			if c := vh.Routes[0].Destinations[0].Cluster; c.Resolution != ResolveNone || len(c.Addresses) != 2 {
				t.Errorf("%s:%d: %+v", host, port, c)
			}
		}
	}
	if v.Listener(7000).AddressedTCP(netip.MustParseAddr("10.1.0.2")) == nil {
		t.Error("a pod's address is nobody's")
	}
	stranger := netip.MustParseAddr("203.0.113.9")
	if got := v.Listener(7000).MatchTCP(stranger); got != nil {
		t.Errorf("a stranger's address is led to %s", got.Destinations[0].Cluster.Name)
	}
	empty := v.Listener(80).MatchHTTP([]byte("empty.shop.svc.cluster.local"))
	if c := empty.Routes[0].Destinations[0].Cluster; c.Resolution != ResolveStatic || len(c.Endpoints) != 0 {
		t.Errorf("nobody is there, but %+v", c)
	}
}

// The usual way to name a database outside: its endpoints are in slices that nobody labels,
// and in the cluster's DNS.
func TestAHeadlessServiceWithoutASelectorIsWhereDNSSays(t *testing.T) {
	t.Parallel()
	service := Service{Namespace: "shop", Name: "legacy", Selectorless: true, Ports: []ServicePort{{Name: "http", Port: 80}, {Name: "tcp-db", Port: 5432}}}
	v := withServices(t, "", service).View(Workload{Namespace: "shop"})
	const host = "legacy.shop.svc.cluster.local"
	c := v.Listener(80).MatchHTTP([]byte(host)).Routes[0].Destinations[0].Cluster
	if c.Resolution != ResolveDNS || len(c.Endpoints) != 0 || c.Host != host || !c.External {
		t.Errorf("%+v", c)
	}
	named := v.Listener(5432).CandidatesTCP(netip.MustParseAddr("203.0.113.9"))
	if len(named) != 1 || named[0].Own.Resolution != ResolveDNS {
		t.Errorf("TCP to it: %+v", named)
	}
	service.Endpoints = addrs("10.1.0.1") // slices that do have the label
	c = withServices(t, "", service).View(Workload{}).Listener(80).MatchHTTP([]byte(host)).Routes[0].Destinations[0].Cluster
	if c.Resolution != ResolveNone || len(c.Addresses) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestAnExternalNameIsLookedUp(t *testing.T) {
	t.Parallel()
	s := withServices(t, "", Service{Namespace: "shop", Name: "pay", External: "API.example.com.", Ports: []ServicePort{{Name: "http", Port: 80}}})
	c := s.View(Workload{}).Listener(80).MatchHTTP([]byte("pay.shop.svc.cluster.local")).Routes[0].Destinations[0].Cluster
	if c.Resolution != ResolveDNS || c.Endpoints[0].Name != "api.example.com" || !c.External {
		t.Errorf("%+v", c)
	}
	for what, service := range map[string]Service{
		"an address is not a name": {Name: "a", Namespace: "n", External: "169.254.169.254", Ports: []ServicePort{{Port: 80}}},
		"has none of TCP":          {Name: "a", Namespace: "n", External: "a.example.com"},
	} {
		if r, issues := FromService(service, ""); r != nil || !strings.Contains(issues.String(), what) {
			t.Errorf("%s: %v, %v", what, r, issues)
		}
	}
}

func TestAServicesPortsSpeakWhatIstioTakesThemFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		port ServicePort
		want Protocol
	}{
		{ServicePort{Port: 80}, Unset}, {ServicePort{Name: "web", Port: 80}, Unset}, {ServicePort{Name: "httpx", Port: 80}, Unset},
		{ServicePort{Name: "http", Port: 80}, HTTP}, {ServicePort{Name: "http-web", Port: 80}, HTTP}, {ServicePort{Name: "HTTP2-web", Port: 80}, HTTP2},
		{ServicePort{Name: "grpc-web-x", Port: 80}, HTTP}, {ServicePort{Name: "grpc", Port: 80}, HTTP2}, {ServicePort{Name: "https-x", Port: 80}, TLS},
		{ServicePort{Name: "tls", Port: 80}, TLS}, {ServicePort{Name: "redis", Port: 80}, TCP}, {ServicePort{Name: "tcp-x", Port: 80}, TCP},
		{ServicePort{Name: "http", AppProtocol: "tcp", Port: 80}, TCP}, {ServicePort{Name: "http", AppProtocol: "example.com/custom", Port: 80}, Unset},
		{ServicePort{AppProtocol: "kubernetes.io/h2c", Port: 80}, HTTP2}, {ServicePort{AppProtocol: "kubernetes.io/ws", Port: 80}, HTTP},
		{ServicePort{AppProtocol: "kubernetes.io/wss", Port: 80}, TLS},
		{ServicePort{Name: "db", Port: 3306}, TCP}, {ServicePort{Name: "http", Port: 3306}, HTTP},
	} {
		if got := protocols[tt.port.protocol()]; got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.port, got, tt.want)
		}
	}
}

func TestNobodyTakesAServicesName(t *testing.T) {
	t.Parallel()
	squatter := "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s}\nspec: {hosts: [web.shop.svc.cluster.local], " +
		"ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 203.0.113.9}]}"
	s := withServices(t, squatter, Service{Namespace: "shop", Name: "web", Addresses: addrs("10.96.0.1"), Ports: []ServicePort{{Name: "http", Port: 80}}})
	c := s.View(Workload{}).Listener(80).MatchHTTP([]byte("web.shop.svc.cluster.local")).Routes[0].Destinations[0].Cluster
	if c.Source.Kind != KubernetesService || !c.EitherFamily {
		t.Errorf("it is %+v", c.Source)
	}
}

func TestAServiceIsExportedToWhomItsAnnotationSays(t *testing.T) {
	t.Parallel()
	s := withServices(t, "", Service{Namespace: "shop", Name: "web", Addresses: addrs("10.96.0.1"), ExportTo: []string{"."}, Ports: []ServicePort{{Name: "http", Port: 80}}})
	var seen []string
	for _, namespace := range []string{"shop", "other"} {
		if s.View(Workload{Namespace: namespace}).Name("web.shop.svc.cluster.local") != nil {
			seen = append(seen, namespace)
		}
	}
	if !slices.Equal(seen, []string{"shop"}) {
		t.Errorf("%v see it", seen)
	}
}

type nobody struct{}

func (nobody) Owner([]NamedTCP) *TCPRoute { return nil }

func TestTLSToAServicesAddressIsItsWhateverNameItGives(t *testing.T) {
	t.Parallel()
	registered := "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s}\nspec: {hosts: [api.example.com], addresses: [203.0.113.9], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}"
	s := withServices(t, registered, Service{Namespace: "default", Name: "kubernetes", Addresses: addrs("10.96.0.1"), Ports: []ServicePort{{Name: "https", Port: 443}}})
	v := s.View(Workload{Namespace: "shop"})
	for _, tt := range []struct{ to, name, want string }{
		{"10.96.0.1:443", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}, {"10.96.0.1:443", "", "kubernetes.default.svc.cluster.local"},
		{"10.96.0.1:443", "kubernetes.default.svc.cluster.local", "kubernetes.default.svc.cluster.local"},
		{"10.96.0.1:443", "anything.example.org", "kubernetes.default.svc.cluster.local"},
		{"10.96.0.1:443", "api.example.com", "api.example.com"}, // which is refused: the address is not its
		{"10.96.0.2:443", "kubernetes.default.svc", ""}, {"203.0.113.9:443", "anything.example.org", ""},
	} {
		got := ""
		if route := v.ChooseTLS(netip.MustParseAddrPort(tt.to), tt.name, nobody{}); route != nil {
			got = route.Destinations[0].Cluster.Host
		}
		if got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func TestServicesAreNoComplaint(t *testing.T) {
	t.Parallel()
	ports := []ServicePort{{Name: "tcp", Port: 5432}, {Name: "http", Port: 80, Target: 8080}}
	s := withServices(t, "", Service{Namespace: "a", Name: "x", Ports: ports}, Service{Namespace: "a", Name: "y", Ports: ports},
		Service{Namespace: "b", Name: "x", Addresses: addrs("10.96.0.1"), Ports: ports}, Service{Namespace: "b", Name: "y", Endpoints: addrs("10.1.0.1"), Ports: ports})
	if issues := s.Check(); len(issues) > 0 {
		t.Error(issues)
	}
	squatted := withServices(t, "apiVersion: networking.istio.io/v1\n"+entry("s", "hosts: [x.b.svc.cluster.local], "+onlyHTTP), Service{Namespace: "b", Name: "x", Addresses: addrs("10.96.0.1"), Ports: ports})
	if issues := squatted.Check().String(); !strings.Contains(issues, "ServiceEntry default/s") || !strings.Contains(issues, "registered already by Service b/x (services/b/x)") {
		t.Error(issues)
	}
}
