package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/vip"
)

// virtually builds a view whose hosts have virtual addresses, and says which.
func virtually(t testing.TB, documents string) (*View, vip.Book, Issues) {
	t.Helper()
	var book vip.Book
	s, issues := build(t, documents, Options{Virtual: func(wanted []vip.Wanted) map[string][]netip.Addr {
		book, _ = vip.Book(nil).Assign(wanted, time.Time{})
		out := map[string][]netip.Addr{}
		for _, w := range wanted {
			slot, _ := book.Slot(w.Host)
			out[w.Host] = []netip.Addr{slot.IPv4(), slot.IPv6()}
		}
		return out
	}})
	return s.View(Workload{}), book, issues
}

const mongo = "ports: [{number: 27017, name: mongo, protocol: MONGO}]"

func TestDatabasesOnOnePortAreToldApartByVirtualAddress(t *testing.T) {
	t.Parallel()
	v, book, issues := virtually(t, join3(
		entry("a", "hosts: [a.db], "+mongo+", resolution: DNS"),
		entry("b", "hosts: [b.db], "+mongo+", resolution: STATIC, endpoints: [{address: 192.0.2.7}]"),
	))
	if len(issues) > 0 {
		t.Error(issues)
	}
	l := v.Listener(27017)
	for _, host := range []string{"a.db", "b.db"} {
		slot, ok := book.Slot(host)
		for _, dst := range []netip.Addr{slot.IPv4(), slot.IPv6()} {
			route := l.AddressedTCP(dst)
			if !ok || route == nil || route.Destinations[0].Cluster.Host != host || !l.DeclaredTCP(dst) || v.HostAt(dst) != host {
				t.Errorf("%s at %s: %+v", host, dst, route)
			}
		}
		n := v.Name(host)
		if n == nil || !n.Virtual || !slices.Equal(n.Addresses, []netip.Addr{slot.IPv4(), slot.IPv6()}) {
			t.Errorf("%s: %+v", host, n)
		}
	}
	// An address that no host has is nobody's, however few services there are.
	nobody := netip.MustParseAddr("240.240.77.77")
	if l.MatchTCP(nobody) != nil || l.CandidatesTCP(nobody) != nil || l.DeclaredTCP(nobody) {
		t.Error("a virtual address that no host has leads somewhere")
	}
	if l.MatchTCP(netip.MustParseAddr("192.0.2.1")) == nil {
		t.Error("a real address is routed by its port no more")
	}
}

func TestWhoGetsAVirtualAddress(t *testing.T) {
	t.Parallel()
	labelled := func(spec string) string {
		return "kind: ServiceEntry\nmetadata: {name: x, labels: {networking.istio.io/enable-autoallocate-ip: 'false'}}\nspec: {" + spec + "}"
	}
	for what, tc := range map[string]struct {
		documents string
		virtual   bool
		addresses string
	}{
		"TCP by DNS":               {entry("x", "hosts: [x.com], "+mongo+", resolution: DNS"), true, ""},
		"HTTP by DNS":              {entry("x", "hosts: [x.com], "+onlyHTTP), true, ""},
		"resolution NONE":          {entry("x", "hosts: [x.com], "+mongo+", resolution: NONE"), false, ""},
		"with addresses":           {entry("x", "hosts: [x.com], addresses: [192.0.2.1, 10.0.0.0/8, '2001:db8::1'], "+mongo+", resolution: STATIC, endpoints: [{address: 192.0.2.9}]"), false, "[192.0.2.1 2001:db8::1]"},
		"a range only":             {entry("x", "hosts: [x.com], addresses: [10.0.0.0/8], "+mongo+", resolution: NONE"), false, ""},
		"a wildcard":               {entry("x", "hosts: ['*.com'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE"), false, ""},
		"refused by label":         {labelled("hosts: [x.com], " + mongo + ", resolution: DNS"), false, ""},
		"a UDP port beside":        {entry("x", "hosts: [x.com], ports: [{number: 53, name: dns, protocol: UDP}, {number: 80, name: http, protocol: HTTP}], resolution: DNS"), false, ""},
		"addresses in another one": {join3(entry("x", "hosts: [x.com], "+onlyHTTP), entry("y", "hosts: [x.com], addresses: [192.0.2.1], "+mongo+", resolution: DNS")), false, "[192.0.2.1]"},
		"NONE on another port":     {join3(entry("x", "hosts: [x.com], "+onlyHTTP), entry("y", "hosts: [x.com], "+mongo+", resolution: NONE")), true, ""},
		"of another namespace":     {"kind: ServiceEntry\nmetadata: {name: x, namespace: other}\nspec: {hosts: [x.com], exportTo: ['.'], " + mongo + ", resolution: DNS}\n---\n" + entry("y", "hosts: [x.com], "+mongo+", resolution: NONE"), false, ""},
	} {
		v, _, _ := virtually(t, tc.documents)
		n := v.Name("x.com")
		if n == nil || n.Virtual != tc.virtual || tc.addresses != "" && fmt.Sprint(n.Addresses) != tc.addresses || tc.addresses == "" && len(n.Addresses) > 0 != tc.virtual {
			t.Errorf("%s: %+v", what, n)
		}
	}
}

func TestHTTPAndTLSAreFoundByVirtualAddressToo(t *testing.T) {
	t.Parallel()
	v, book, _ := virtually(t, join3(
		entry("h", "hosts: [h.com], "+onlyHTTP),
		entry("s", "hosts: [s.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS"),
		entry("t", "hosts: [t.com], ports: [{number: 80, name: tcp, protocol: TCP}], resolution: DNS"),
	))
	h, _ := book.Slot("h.com")
	for _, host := range []string{h.IPv4().String(), h.IPv6().String(), "[" + h.IPv6().String() + "]"} {
		if got := httpCluster(v, 80, host); got == "" {
			t.Errorf("Host: %s is not found", host)
		}
	}
	s, _ := book.Slot("s.com")
	if route := v.Listener(443).MatchTLS("", s.IPv6()); route == nil || route.Destinations[0].Cluster.Host != "s.com" {
		t.Errorf("TLS without a name: %+v", route)
	}
	if v.Listener(80).MatchTCP(h.IPv4()) != nil {
		t.Error("opaque bytes to one host's address reach another host")
	}
}

func TestNamesAreFoundExactlyThenByWildcard(t *testing.T) {
	t.Parallel()
	v, _, _ := virtually(t, join3(
		entry("a", "hosts: [a.x.com], "+onlyHTTP),
		entry("w", "hosts: ['*.x.com'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE"),
		"kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [only.virtual], http: [{route: [{destination: {host: a.x.com}}]}]}",
	))
	for name, want := range map[string]string{"a.x.com": "a.x.com", "b.x.com": "*.x.com", "c.b.x.com": "*.x.com", "x.com": "", "only.virtual": "only.virtual", "y.com": ""} {
		got := ""
		if n := v.Name(name); n != nil {
			got = n.Host
		}
		if got != want {
			t.Errorf("%s is found as %q, want %q", name, got, want)
		}
	}
}

func TestWithoutAllocationNothingIsVirtual(t *testing.T) {
	t.Parallel()
	v := view(t, entry("x", "hosts: [x.com], "+mongo+", resolution: DNS"))
	if n := v.Name("x.com"); n == nil || n.Virtual || len(n.Addresses) > 0 || v.HostAt(netip.MustParseAddr("240.240.1.1")) != "" {
		t.Errorf("%+v", n)
	}
}

// Connections depend on settings, not on the address that a name is answered with:
// pools must survive a change of it.
func TestAVirtualAddressIsNoSettingOfTheCluster(t *testing.T) {
	t.Parallel()
	const doc = "hosts: [x.com], " + mongo + ", resolution: DNS"
	v, book, _ := virtually(t, entry("x", doc))
	slot, _ := book.Slot("x.com")
	with := v.Listener(27017).AddressedTCP(slot.IPv4()).Destinations[0].Cluster
	without := view(t, entry("x", doc)).Listener(27017).MatchTCP(netip.MustParseAddr("192.0.2.1")).Destinations[0].Cluster
	if with.Fingerprint != without.Fingerprint || len(with.Addresses) > 0 {
		t.Errorf("%+v, %+v", with, without)
	}
}

// Of two namespaces one registers more than its part: what it does not get is said of its
// entry, and the other, which comes later, has all of its own.
func TestANamespaceThatWouldTakeMoreThanItsPartIsTold(t *testing.T) {
	t.Parallel()
	places := func(namespace string, n int) (out []Place) {
		for first := 0; first < n; first += 256 {
			var hosts []string
			for i := first; i < min(first+256, n); i++ {
				hosts = append(hosts, fmt.Sprintf("h%d.%s", i, namespace))
			}
			name := fmt.Sprint("e", first)
			r, issues := Decode(name, []byte(fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s, namespace: %s}\nspec: {hosts: [%s], %s}\n",
				name, namespace, strings.Join(hosts, ", "), onlyHTTP)), DecodeOptions{})
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			out = append(out, Place{Resource: r[0]})
		}
		return out
	}
	var book vip.Book
	index := NewIndex(Options{Virtual: func(wanted []vip.Wanted) map[string][]netip.Addr {
		book, _ = book.Assign(wanted, time.Time{}.Add(time.Hour))
		out := map[string][]netip.Addr{}
		for _, w := range wanted {
			if slot, ok := book.Slot(w.Host); ok {
				out[w.Host] = []netip.Addr{slot.IPv4(), slot.IPv6()}
			}
		}
		return out
	}})
	const tooMany = vip.Slots/2 + 3
	index.Change(nil, places("greedy", tooMany))
	issues := index.Change(nil, places("modest", 300)).Check()
	if len(issues) != 3 {
		t.Fatalf("%d issues: %v", len(issues), issues[:min(len(issues), 5)])
	}
	for _, i := range issues {
		if i.Namespace != "greedy" || i.Severity != Warning || !strings.HasPrefix(i.Field, "spec.hosts[") || !strings.Contains(i.Message, `has no virtual address: namespace "greedy"`) {
			t.Error(i)
		}
	}
	if _, ok := book.Slot("h299.modest"); !ok {
		t.Error("who came later has no address")
	}
}
