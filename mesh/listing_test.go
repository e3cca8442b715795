package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var every = func(uint16, string) bool { return true }

// TestWaysLeadWhereTheViewDoes draws configurations: the ways of a view lead to its
// clusters, all of them, and to no other.
func TestWaysLeadWhereTheViewDoes(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		var documents []string
		for i := range 1 + r.IntN(6) {
			host := []string{"a.x.com", "b.x.com", "'*.x.com'", "x.com", "db"}[r.IntN(5)]
			protocol := []string{"HTTP", "TLS", "TCP", "GRPC"}[r.IntN(4)]
			more := []string{"resolution: DNS", "resolution: NONE", "resolution: STATIC, endpoints: [{address: 192.0.2.9}]"}[r.IntN(3)]
			if r.IntN(2) == 0 {
				more += fmt.Sprintf(", addresses: [10.0.%d.0/24, 10.1.0.%d]", i, i)
			}
			documents = append(documents, entry(fmt.Sprint("s", i), fmt.Sprintf("hosts: [%s], ports: [{number: %d, name: p, protocol: %s}], %s", host, 80+r.IntN(2), protocol, more)))
		}
		documents = append(documents, `
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [a.x.com, other.com]
  http: [{route: [{destination: {host: b.x.com}, weight: 1}, {destination: {host: gone.com}, weight: 2}]}]
  tls: [{match: [{sniHosts: [a.x.com], port: 80}], route: [{destination: {host: b.x.com}}]}]`)
		snapshot, _ := buildAny(t, join3(documents...))
		v := snapshot.View(Workload{})
		listed, want := map[*Cluster]bool{}, map[*Cluster]bool{}
		for way := range v.Ways(every) {
			for _, d := range way.Destinations() {
				listed[d.Cluster] = true
			}
		}
		v.EachCluster(func(c *Cluster) { want[c] = true })
		for c := range want {
			if !listed[c] {
				t.Fatalf("seed %d: no way leads to %s in\n%s", seed, c.Name, join3(documents...))
			}
		}
		for c := range listed {
			if !want[c] {
				t.Fatalf("seed %d: a way leads to %s in\n%s", seed, c.Name, join3(documents...))
			}
		}
	}
}

// buildAny builds what may have errors.
func buildAny(t *testing.T, documents string) (*Snapshot, Issues) {
	t.Helper()
	resources, _ := Decode("test.yaml", []byte(apiHeader+strings.ReplaceAll(strings.TrimLeft(documents, "\n"), "\n---\n", "\n---\n"+apiHeader)), DecodeOptions{})
	return Build(resources, Options{})
}

func TestWaysAreListedInOrder(t *testing.T) {
	t.Parallel()
	v := view(t, join3(
		entry("w", "hosts: ['*.x.com'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE"),
		entry("b", "hosts: [b.x.com], addresses: [192.0.2.1], "+onlyHTTP),
		entry("a", "hosts: [a.x.com], addresses: [192.0.2.1], "+onlyHTTP),
		entry("d", "hosts: [d.com], ports: [{number: 81, name: t, protocol: TCP}], resolution: DNS"),
		entry("r", "hosts: [r.com], addresses: [10.2.0.0/16, 10.1.0.0/16], ports: [{number: 81, name: t, protocol: TCP}], resolution: NONE"),
	))
	list := func(wanted func(uint16, string) bool) (out []string) {
		for way := range v.Ways(wanted) {
			out = append(out, strings.TrimSpace(fmt.Sprint(way.Port, " ", way.Traffic, " ", way.Host, " ", way.Subnets)))
		}
		return out
	}
	want := []string{
		"80 http a.x.com []", "80 http b.x.com []", "80 http *.x.com []",
		"80 tls a.x.com []", "80 tls b.x.com []", "80 tls *.x.com []", "80 tls  [192.0.2.1/32]",
		"81 tcp  [10.1.0.0/16]", "81 tcp  [10.2.0.0/16]", "81 tcp d.com []",
	}
	if got := list(every); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	only := list(func(port uint16, host string) bool { return port == 81 && host == "r.com" })
	if len(only) != 2 {
		t.Errorf("of r.com: %q", only)
	}
	for range v.Ways(every) {
		break // an iterator that is left early must not go on
	}
}

func TestMatchesSayWhatTheyWant(t *testing.T) {
	t.Parallel()
	v := view(t, join3(entry("s", "hosts: [x.com], "+onlyHTTP), `
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [x.com]
  http:
  - match:
    - {uri: {prefix: /a}, ignoreUriCase: true, method: {exact: GET}, queryParams: {q: {regex: "a|b"}}}
    - {headers: {x-b: {exact: "1\n2"}, x-a: {}}, withoutHeaders: {x-c: {exact: ""}}, authority: {prefix: x}, port: 80}
    - {scheme: {exact: http}}`))
	var got []string
	for way := range v.Ways(every) {
		if way.HTTP != nil {
			for i := range way.HTTP.Match {
				got = append(got, way.HTTP.Match[i].String())
			}
		}
	}
	want := []string{
		`uri prefix "/a" in any case and query parameter "q" regex "a|b" and method exact "GET"`,
		`authority prefix "x" and header "x-a" any value and header "x-b" exact "1\n2" and not header "x-c" exact "" and port 80`,
		`scheme exact "http"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if text := (&HTTPMatch{}).String(); text != "everything" {
		t.Errorf("without conditions: %q", text)
	}
}
