package mesh

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
	istio "istio.io/api/type/v1beta1"

	"github.com/sluice-cni/sluice/vip"
)

// drawn draws resources out of few names, so that they meet.
type drawn struct{ *rand.Rand }

func oneOf[T any](r drawn, list ...T) T { return list[r.IntN(len(list))] }

func (r drawn) host() string {
	return oneOf(r, "a.com", "b.com", "a.b.com", "b.b.com", "a.a.b.com", "*.com", "*.b.com", "*.a.b.com", "*.a.com",
		"s", "t", "s.default.svc.cluster.local", "t.default.svc.cluster.local", "s.other.svc.cluster.local", "*.other.svc.cluster.local",
		"192.0.2.1", "2001:db8::1", "*")
}

// probes are what is asked for: every name that may be drawn and some below them.
var probes = []string{
	"a.com", "b.com", "a.b.com", "b.b.com", "a.a.b.com", "*.com", "*.b.com", "*.a.b.com", "*.a.com", "c.com", "c.b.com", "c.a.b.com", "d.c.a.b.com", "com", ".com", "",
	"s", "t", "u", "s.default.svc.cluster.local", "t.default.svc.cluster.local", "s.other.svc.cluster.local", "u.other.svc.cluster.local", "x.y.other.svc.cluster.local", "*.other.svc.cluster.local",
	"s.default", "s.default.svc", "t.other.svc", "u.other", "s.other", "x.s", "x.s.default", "x.s.other.svc", "x.y.other", "other", "svc", "default.svc", ".svc", "s.", "s..default",
	"192.0.2.1", "[192.0.2.1]", "192.0.2.2", "2001:db8::1", "[2001:db8::1]", "240.240.0.1", "240.240.0.2", "240.240.0.3", "*",
}

func (r drawn) namespace() string { return oneOf(r, "default", "other", "third", "istio-system") }

func (r drawn) exportTo() []string {
	return oneOf(r, nil, nil, nil, []string{"*"}, []string{"."}, []string{"default"}, []string{"other", "third"}, []string{"~"})
}

func (r drawn) list(n int, draw func() string) []string {
	var out []string
	for range 1 + r.IntN(n) {
		if s := draw(); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (r drawn) address() string {
	return oneOf(r, "192.0.2.1", "192.0.2.1", "192.0.2.0/24", "192.0.2.0/28", "10.0.0.0/8", "2001:db8::1", "2001:db8::/32")
}

func (r drawn) labels() map[string]string {
	return oneOf(r, nil, nil, map[string]string{"app": "x"}, map[string]string{"app": "y"})
}

func (r drawn) serviceEntry() *networking.ServiceEntry {
	s := &networking.ServiceEntry{
		Hosts: r.list(3, r.host), ExportTo: r.exportTo(),
		Resolution: oneOf(r, networking.ServiceEntry_NONE, networking.ServiceEntry_DNS, networking.ServiceEntry_STATIC),
	}
	if r.IntN(3) == 0 {
		s.Addresses = r.list(2, r.address)
	}
	for i, n := range r.Perm(3)[:1+r.IntN(3)] {
		s.Ports = append(s.Ports, &networking.ServicePort{
			Number: []uint32{80, 443, 9}[n], Name: fmt.Sprint("p", i), TargetPort: uint32(r.IntN(3)),
			Protocol: oneOf(r, "HTTP", "HTTP", "HTTP2", "TLS", "TCP", "TCP", "", "UDP"),
		})
	}
	return s
}

// service draws a Service that a ServiceEntry may have the name of.
func (r drawn) service(namespace string) Service {
	s := Service{Namespace: namespace, Name: oneOf(r, "s", "t"), ExportTo: r.exportTo()}
	switch r.IntN(3) {
	case 0:
		s.Addresses = []netip.Addr{netip.MustParseAddr(oneOf(r, "192.0.2.1", "192.0.2.9"))}
	case 1:
		for range r.IntN(3) {
			s.Endpoints = append(s.Endpoints, netip.MustParseAddr(oneOf(r, "192.0.2.1", "192.0.2.99", "2001:db8::1")))
		}
	case 2:
		s.External = oneOf(r, "a.com", "s.other.svc.cluster.local")
	}
	for _, n := range r.Perm(3)[:1+r.IntN(3)] {
		s.Ports = append(s.Ports, ServicePort{Name: oneOf(r, "http", "http2-x", "tcp", "https", ""), Port: []uint16{80, 443, 9}[n], Target: oneOf[uint16](r, 0, 80, 443)})
	}
	return s
}

func (r drawn) destinations() []*networking.RouteDestination {
	var out []*networking.RouteDestination
	for i := range 1 + r.IntN(2) {
		d := &networking.Destination{Host: r.host(), Subset: oneOf(r, "", "", "", "v1", "v2")}
		if r.IntN(3) == 0 {
			d.Port = &networking.PortSelector{Number: oneOf[uint32](r, 80, 443, 9, 7)}
		}
		out = append(out, &networking.RouteDestination{Destination: d, Weight: int32(1 - i + r.IntN(3))})
	}
	return out
}

func (r drawn) subnets() []string {
	if r.IntN(2) == 0 {
		return nil
	}
	return r.list(2, r.address)
}

func (r drawn) port() uint32 { return oneOf[uint32](r, 0, 0, 80, 443, 9) }

func (r drawn) sourceNamespace() string { return oneOf(r, "", "", "", "third", "fourth") }

func (r drawn) virtualService() *networking.VirtualService {
	v := &networking.VirtualService{Hosts: r.list(2, r.host), ExportTo: r.exportTo()}
	for i := range r.IntN(3) {
		route := &networking.HTTPRoute{Name: fmt.Sprint("r", i), Timeout: durationpb.New(time.Duration(r.IntN(5)) * time.Second)}
		for range r.IntN(3) {
			route.Match = append(route.Match, &networking.HTTPMatchRequest{Port: r.port(), SourceLabels: r.labels(), SourceNamespace: r.sourceNamespace()})
		}
		for _, d := range r.destinations()[r.IntN(2):] {
			route.Route = append(route.Route, &networking.HTTPRouteDestination{Destination: d.Destination, Weight: d.Weight})
		}
		v.Http = append(v.Http, route)
	}
	for range r.IntN(2) {
		route := &networking.TLSRoute{Route: r.destinations()}
		for range 1 + r.IntN(2) {
			route.Match = append(route.Match, &networking.TLSMatchAttributes{
				SniHosts: r.list(2, r.host), DestinationSubnets: r.subnets(), Port: r.port(), SourceLabels: r.labels(), SourceNamespace: r.sourceNamespace()})
		}
		v.Tls = append(v.Tls, route)
	}
	for range r.IntN(2) {
		route := &networking.TCPRoute{Route: r.destinations()}
		for range r.IntN(3) {
			route.Match = append(route.Match, &networking.L4MatchAttributes{
				DestinationSubnets: r.subnets(), Port: r.port(), SourceLabels: r.labels(), SourceNamespace: r.sourceNamespace()})
		}
		v.Tcp = append(v.Tcp, route)
	}
	return v
}

func (r drawn) destinationRule() *networking.DestinationRule {
	timeout := func() *networking.ConnectionPoolSettings {
		return &networking.ConnectionPoolSettings{Tcp: &networking.ConnectionPoolSettings_TCPSettings{
			ConnectTimeout: durationpb.New(time.Duration(1+r.IntN(1000)) * time.Millisecond)}}
	}
	d := &networking.DestinationRule{Host: r.host(), ExportTo: r.exportTo(), TrafficPolicy: &networking.TrafficPolicy{ConnectionPool: timeout()}}
	if r.IntN(2) == 0 {
		d.TrafficPolicy.Tls = &networking.ClientTLSSettings{Mode: networking.ClientTLSSettings_SIMPLE}
	}
	if labels := r.labels(); labels != nil && r.IntN(2) == 0 {
		d.WorkloadSelector = &istio.WorkloadSelector{MatchLabels: labels}
	}
	for _, name := range []string{"v1", "v2"} {
		if r.IntN(4) == 0 {
			s := &networking.Subset{Name: name, Labels: r.labels()}
			if r.IntN(2) == 0 {
				s.TrafficPolicy = &networking.TrafficPolicy{ConnectionPool: timeout()}
			}
			d.Subsets = append(d.Subsets, s)
		}
	}
	if r.IntN(6) == 0 {
		d.TrafficPolicy = nil
		return d
	}
	if r.IntN(3) == 0 {
		d.TrafficPolicy.PortLevelSettings = append(d.TrafficPolicy.PortLevelSettings, &networking.TrafficPolicy_PortTrafficPolicy{
			Port: &networking.PortSelector{Number: oneOf[uint32](r, 80, 443, 9)}, ConnectionPool: timeout()})
	}
	return d
}

func (r drawn) sidecar() *networking.Sidecar {
	s := &networking.Sidecar{}
	if labels := r.labels(); labels != nil {
		s.WorkloadSelector = &networking.WorkloadSelector{Labels: labels}
	}
	if r.IntN(2) == 0 {
		s.OutboundTrafficPolicy = &networking.OutboundTrafficPolicy{Mode: oneOf(r, networking.OutboundTrafficPolicy_ALLOW_ANY, networking.OutboundTrafficPolicy_REGISTRY_ONLY)}
	}
	for range r.IntN(3) {
		s.Egress = append(s.Egress, &networking.IstioEgressListener{Hosts: r.list(3, func() string {
			return oneOf(r, ".", "*", "*", "other", "default") + "/" + oneOf(r, "*", "*", "*.com", "*.b.com", "a.com", "s", "*.svc.cluster.local")
		})})
	}
	return s
}

func (r drawn) resource(n int) *Resource {
	out := &Resource{Namespace: r.namespace(), Name: fmt.Sprint("n", n)}
	switch k := r.IntN(23); {
	case k >= 20:
		var issues Issues
		if out, issues = FromService(r.service(out.Namespace), ""); out == nil {
			panic(issues)
		}
		out.Name = fmt.Sprint("n", n)
	case k < 8:
		out.Kind, out.Spec = ServiceEntry, r.serviceEntry()
	case k < 14:
		out.Kind, out.Spec = VirtualService, r.virtualService()
	case k < 19:
		out.Kind, out.Spec = DestinationRule, r.destinationRule()
	default:
		out.Kind, out.Spec = Sidecar, r.sidecar()
	}
	out.Source = Source{Kind: out.Kind, Namespace: out.Namespace, Name: out.Name}
	return out
}

// assignInTurn assigns addresses by the order of hosts, so that a host that comes changes
// those of others.
func assignInTurn(hosts []vip.Wanted) map[string][]netip.Addr {
	out := make(map[string][]netip.Addr)
	for i, w := range hosts {
		out[w.Host] = []netip.Addr{netip.AddrFrom4([4]byte{240, 240, 0, byte(i + 1)})}
	}
	return out
}

var workloads = []Workload{
	{Namespace: "default"}, {Namespace: "default", Labels: map[string]string{"app": "x"}}, {Namespace: "other"}, {Namespace: "third", Labels: map[string]string{"app": "y"}},
	{Namespace: "fourth"}, {Namespace: "fifth"},
}

// TestAnIndexSaysWhatBuildingAllAtOnceSays changes random configurations at random and
// asks every snapshot all there is to ask, as whoever sees it: an Index and its views,
// which derive bit by bit and take over what they derived, and the old way, which built
// whole views of all resources.
func TestAnIndexSaysWhatBuildingAllAtOnceSays(t *testing.T) {
	t.Parallel()
	start := uint64(time.Now().UnixNano())
	for i := range uint64(indexRuns) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			compareRun(t, start+i)
		})
	}
}

// indexRuns is how many sequences a test run compares.
const indexRuns = 40

func compareRun(t *testing.T, seed uint64) {
	r := drawn{rand.New(rand.NewPCG(seed, 6))}
	opts := Options{}
	if r.IntN(2) == 0 {
		opts.Virtual = assignInTurn
	}
	index := NewIndex(opts)
	there := make(map[int]Place) // by position
	size := 4 + r.IntN(30)
	var earlier *Snapshot
	var earlierOld *oldSnapshot
	for step := range 25 {
		var removed []*Resource
		var added []Place
		for range 1 + r.IntN(oneOf(r, 1, 1, 1, 3, 20)) {
			at := r.IntN(size)
			if p, taken := there[at]; taken {
				if i := slices.IndexFunc(added, func(a Place) bool { return a == p }); i >= 0 {
					continue
				}
				removed = append(removed, p.Resource)
				delete(there, at)
				if r.IntN(3) == 0 {
					continue
				}
			}
			p := Place{Resource: r.resource(at), Group: fmt.Sprint(at % 3), Position: at / 3}
			there[at] = p
			added = append(added, p)
		}
		s := index.Change(removed, added)
		places := slices.SortedFunc(maps.Values(there), func(a, b Place) int {
			return a.rank().compare(b.rank())
		})
		old := buildOld(places, opts)
		var order []*Resource
		for _, p := range places {
			order = append(order, p.Resource)
		}
		if got := s.Resources(); !slices.Equal(got, order) || s.Len() != len(order) {
			t.Fatalf("seed %d, step %d: other resources", seed, step)
		}
		describe := func() string {
			var b strings.Builder
			for _, p := range places {
				fmt.Fprintf(&b, "%s: %v\n", p.Resource.Identity(), p.Resource.Spec)
			}
			return b.String()
		}
		if r.IntN(4) > 0 { // else nobody asks this one
			for _, w := range workloads {
				if r.IntN(3) > 0 {
					compareViews(t, r, s.View(w), old.view(w), func() string {
						return fmt.Sprintf("seed %d, step %d, %+v\n%s", seed, step, w, describe())
					})
				}
			}
		}
		if earlier != nil && r.IntN(3) == 0 {
			w := oneOf(r, workloads...)
			compareViews(t, r, earlier.View(w), earlierOld.view(w), func() string { return fmt.Sprintf("seed %d, step %d: an earlier snapshot", seed, step) })
		}
		earlier, earlierOld = s, old
	}
}

// compareViews asks both views the same. It asks some in part, so that what is taken over
// is not always all.
func compareViews(t *testing.T, r drawn, got *View, want *oldView, where func() string) {
	t.Helper()
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %s\ngot  %s\nwant %s", where(), what, shown(got), shown(want))
		}
	}
	share := 1 + r.IntN(4)
	skip := func() bool { return r.IntN(4) >= share }
	same("policy", got.Policy, want.Policy)
	if r.IntN(8) == 0 {
		everything := func(uint16, string) bool { return true }
		same("ways", slices.Collect(got.Ways(everything)), slices.Collect(want.Ways(everything)))
	}
	same("ports", slices.Clip(append([]uint16{}, got.Ports()...)), slices.Clip(append([]uint16{}, slices.Sorted(maps.Keys(want.listeners))...)))
	for _, name := range probes {
		if !skip() {
			same("name "+name, got.Name(name), want.Name(name))
		}
	}
	addresses := []netip.Addr{{}}
	for _, a := range []string{"192.0.2.1", "192.0.2.9", "192.0.2.99", "10.1.2.3", "2001:db8::1", "2001:db8::2", "198.51.100.1", "240.240.0.1", "240.240.0.2", "240.240.0.3"} {
		addresses = append(addresses, netip.MustParseAddr(a))
	}
	for _, a := range addresses {
		same("host at "+a.String(), got.HostAt(a), want.HostAt(a))
	}
	for _, port := range []uint16{80, 443, 9, 1234} {
		l, old := got.Listener(port), want.listeners[port]
		same(fmt.Sprint("listener ", port), l == nil, old == nil)
		if l == nil {
			continue
		}
		same(fmt.Sprint("protocols of ", port), []bool{l.HTTP, l.TLS, l.Unset}, []bool{old.HTTP, old.TLS, old.Unset})
		for _, name := range probes {
			if skip() {
				continue
			}
			same(fmt.Sprint("HTTP to ", name, ":", port), unbound(l.MatchHTTP([]byte(name))), old.MatchHTTP([]byte(name)))
			a := oneOf(r, addresses...)
			same(fmt.Sprint("TLS to ", name, ":", port, " at ", a), l.MatchTLS(name, a), old.MatchTLS(name, a))
		}
		for _, a := range addresses {
			if skip() {
				continue
			}
			same(fmt.Sprint("TLS to ", a, ":", port), l.MatchTLS("", a), old.MatchTLS("", a))
			same(fmt.Sprint("TCP to ", a, ":", port), l.MatchTCP(a), old.MatchTCP(a))
			same(fmt.Sprint("addressed TCP to ", a, ":", port), l.AddressedTCP(a), old.AddressedTCP(a))
			same(fmt.Sprint("declared TCP to ", a, ":", port), l.DeclaredTCP(a), old.DeclaredTCP(a))
			same(fmt.Sprint("candidates for ", a, ":", port), l.CandidatesTCP(a), old.CandidatesTCP(a))
		}
	}
}

// unbound is a virtual host wherever it is sent: the old way knows no bounds.
func unbound(vh *VirtualHost) *VirtualHost {
	if vh == nil || vh.within == nil {
		return vh
	}
	out := *vh
	out.within = nil
	return &out
}

// shown writes an answer for people.
func shown(answer any) string {
	route := func(destinations []WeightedCluster) string {
		var out []string
		for _, d := range destinations {
			out = append(out, fmt.Sprintf("%d×%+v", d.Weight, *d.Cluster))
		}
		return strings.Join(out, ", ")
	}
	switch a := answer.(type) {
	case *VirtualHost:
		if a == nil {
			return "nothing"
		}
		out := a.Host
		for _, r := range a.Routes {
			out += fmt.Sprintf("\n  %s %+v %v → %s", r.Name, r.Match, r.Source, route(r.Destinations))
		}
		return out
	case *TCPRoute:
		if a == nil {
			return "nothing"
		}
		return fmt.Sprintf("%v → %s", a.Source, route(a.Destinations))
	case []Way:
		out := ""
		for _, w := range a {
			out += fmt.Sprintf("\n  %d %s %s %v %s", w.Port, w.Traffic, w.Host, w.Subnets, route(w.Destinations()))
		}
		return out
	case []NamedTCP:
		out := ""
		for _, n := range a {
			out += fmt.Sprintf("\n  %+v: %s", *n.Own, route(n.Route.Destinations))
		}
		return out
	}
	return fmt.Sprintf("%+v", answer)
}
