package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestHostIsMatchedExactlyThenByTheLongestWildcard(t *testing.T) {
	t.Parallel()
	v := view(t, join3(
		"kind: ServiceEntry\nmetadata: {name: a}\nspec: {hosts: ['*.com', '*.x.com', a.x.com, Upper.X.com.], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE, addresses: [192.0.2.7, '2001:db8::7']}",
	))
	tests := map[string]string{
		"a.x.com": "a.x.com", "upper.x.com": "upper.x.com", "b.x.com": "*.x.com", "c.b.x.com": "*.x.com",
		"x.com": "*.com", "com": "", "x.org": "", ".com": "", "": "", "192.0.2.7": "*.com", "[2001:db8::7]": "*.com", "192.0.2.8": "",
		strings.Repeat("a.", 200) + "com": "",
	}
	for host, want := range tests {
		got := ""
		if vh := v.Listener(80).MatchHTTP([]byte(host)); vh != nil {
			got = vh.Host
		}
		if got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

// TestMatchingAgreesWithTheSlowWay compares with trying every host in turn.
func TestMatchingAgreesWithTheSlowWay(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	name := func() string {
		labels := make([]string, 1+r.IntN(3))
		for i := range labels {
			labels[i] = string(rune('a' + r.IntN(3)))
		}
		return strings.Join(labels, ".")
	}
	for range 200 {
		hosts := map[string]bool{}
		for range 1 + r.IntN(8) {
			host := name()
			if r.IntN(2) == 0 {
				host = "*." + host
			}
			hosts[host] = true
		}
		var list []string
		for host := range hosts {
			list = append(list, "'"+host+"'")
		}
		documents := entry("s", "hosts: ["+strings.Join(list, ", ")+"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE")
		l := view(t, documents).Listener(80)
		for range 30 {
			asked := name()
			want := slowMatch(hosts, asked)
			got, sni := "", ""
			if vh := l.MatchHTTP([]byte(asked)); vh != nil {
				got = vh.Host
			}
			if route := l.MatchTLS(asked, netip.Addr{}); route != nil {
				sni = route.Destinations[0].Cluster.Host
			}
			if got != want || sni != want {
				t.Fatalf("seed %d: %q among %v is %q in HTTP and %q in TLS, want %q", seed, asked, list, got, sni, want)
			}
		}
	}
}

func slowMatch(hosts map[string]bool, asked string) string {
	if hosts[asked] {
		return asked
	}
	best := ""
	for host := range hosts {
		if suffix, ok := strings.CutPrefix(host, "*"); ok && strings.HasSuffix(asked, suffix) && len(asked) > len(suffix) && len(host) > len(best) {
			best = host
		}
	}
	return best
}

func TestHTTPMatchesAreAndWithinAndOrBetween(t *testing.T) {
	t.Parallel()
	v := view(t, join3(entry("s", "hosts: [x.com], "+onlyHTTP), `
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [x.com]
  http:
  - {name: exact, match: [{uri: {exact: /exact}}]}
  - {name: prefix, match: [{uri: {prefix: /pre}}]}
  - {name: regex, match: [{uri: {regex: "/r[0-9]+"}}]}
  - {name: nocase, match: [{uri: {prefix: /NoCase}, ignoreUriCase: true}]}
  - {name: method, match: [{method: {exact: POST}}]}
  - {name: header, match: [{headers: {X-One: {exact: "1"}, x-two: {}}, withoutHeaders: {x-three: {}}}]}
  - {name: query, match: [{queryParams: {q: {exact: a}}}, {queryParams: {p: {}}}]}
  - {name: authority, match: [{authority: {prefix: "x.com:"}}]}
  - {name: scheme, match: [{scheme: {exact: https}}]}
  - {name: elsewhere, match: [{port: 8080}]}
  - {name: here, match: [{port: 8080}, {port: 80, uri: {exact: /port}}]}
  - {name: gateways, match: [{gateways: [some-gateway]}]}
`))
	h := func(pairs ...string) map[string]string {
		out := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = pairs[i+1]
		}
		return out
	}
	tests := []struct {
		request request
		want    string
	}{
		{request{path: "/exact"}, "exact"},
		{request{path: "/exact?q=b#f"}, "exact"},
		{request{path: "/exact/"}, ""},
		{request{path: "/prefixed"}, "prefix"},
		{request{path: "/r12"}, "regex"},
		{request{path: "/r12/x"}, ""},
		{request{path: "/nocASE/x"}, "nocase"},
		{request{method: "POST"}, "method"},
		{request{method: "post"}, ""},
		{request{headers: h("x-one", "1", "x-two", "")}, "header"},
		{request{headers: h("x-one", "1")}, ""},
		{request{headers: h("x-one", "1", "x-two", "2", "x-three", "")}, ""},
		{request{path: "/?z=1&q=a"}, "query"},
		{request{path: "/?q=b&q=a"}, ""},
		{request{path: "/?p"}, "query"},
		{request{authority: "x.com:80"}, "authority"},
		{request{scheme: "https"}, "scheme"},
		{request{path: "/port"}, "here"},
		{request{path: "/none"}, ""},
	}
	vh := v.Listener(80).MatchHTTP([]byte("x.com"))
	for _, tt := range tests {
		got := ""
		if route, _ := vh.Match(tt.request); route != nil {
			got = route.Name
		}
		if got != tt.want {
			t.Errorf("%+v takes %q, want %q", tt.request, got, tt.want)
		}
	}
}

func TestDestinationsAreFoundAsIstioFindsThem(t *testing.T) {
	t.Parallel()
	route := func(name, host, destination string) string {
		return "kind: VirtualService\nmetadata: {name: " + name + "}\nspec: {hosts: ['" + host + "'], http: [{route: [" + destination + "]}]}"
	}
	v := view(t, join3(
		entry("one", "hosts: [one.com], ports: [{number: 8443, name: a, protocol: HTTP}], resolution: DNS"),
		entry("two", "hosts: [two.com], ports: [{number: 80, name: a, protocol: HTTP}, {number: 443, name: b, protocol: HTTPS}], resolution: DNS"),
		entry("wild", "hosts: ['*.wild.com'], ports: [{number: 80, name: a, protocol: HTTP}], resolution: NONE"),
		entry("short", "hosts: [db.default.svc.cluster.local], ports: [{number: 80, name: a, protocol: HTTP}], resolution: DNS"),
		entry("all", "hosts: [a.com, b.com, c.com, d.com, e.com, f.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE"),
		route("a", "a.com", "{destination: {host: one.com}}"),
		route("b", "b.com", "{destination: {host: two.com}}"),
		route("c", "c.com", "{destination: {host: two.com, port: {number: 443}}}"),
		route("d", "d.com", "{destination: {host: two.com, port: {number: 81}}}"),
		route("e", "e.com", "{destination: {host: db}}"),
		route("f", "f.com", "{destination: {host: nowhere.com}, weight: 0}, {destination: {host: one.com}, weight: 5}"),
		route("g", "special.wild.com", "{destination: {host: special.wild.com}}"),
		route("h", "alias.com", "{destination: {host: two.com}}"),
	))
	tests := map[string]string{
		"a.com": "outbound|8443||one.com", "b.com": "outbound|80||two.com", "c.com": "outbound|443||two.com",
		"d.com": "outbound|81||two.com", "e.com": "outbound|80||db.default.svc.cluster.local", "f.com": "outbound|8443||one.com",
		"special.wild.com": "outbound|80||special.wild.com", "other.wild.com": "outbound|80||*.wild.com", "alias.com": "outbound|80||two.com",
	}
	for host, want := range tests {
		if got := httpCluster(v, 80, host); got != want {
			t.Errorf("%s goes to %q, want %q", host, got, want)
		}
	}
	if d := v.Listener(80).MatchHTTP([]byte("d.com")).Routes[0].Destinations[0].Cluster; !d.Unknown {
		t.Errorf("a port that nobody registers is known: %+v", d)
	}
}

func TestAVirtualServiceWithoutDestinationRoutesEachHostToItself(t *testing.T) {
	t.Parallel()
	v := view(t, join3(
		entry("s", "hosts: [a.x.com, b.x.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE"),
		"kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: ['*.x.com'], http: [{timeout: 1m}]}",
	))
	for _, host := range []string{"a.x.com", "b.x.com"} {
		route := v.Listener(80).MatchHTTP([]byte(host)).Routes[0]
		if route.Action.Timeout != time.Minute || route.Destinations[0].Cluster.Name != "outbound|80||"+host {
			t.Errorf("%s: %+v", host, route.Destinations[0].Cluster)
		}
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	v := view(t, join3(
		entry("a", "hosts: [a.com, '*.b.com'], ports: [{number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP}], resolution: NONE"),
		entry("t", "hosts: [t.com], addresses: [10.0.0.0/8], ports: [{number: 443, name: tcp, protocol: TCP}], resolution: NONE"),
	))
	http, tls := v.Listener(80), v.Listener(443)
	host, dst := []byte("x.y.b.com"), netip.MustParseAddr("10.1.2.3")
	allocations := testing.AllocsPerRun(100, func() {
		if http.MatchHTTP(host) == nil || tls.MatchTLS("x.y.b.com", dst) == nil || tls.MatchTCP(dst) == nil {
			panic("not found")
		}
	})
	if allocations > 0 {
		t.Error(fmt.Sprint(allocations, " allocations"))
	}
}
