package mesh

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// labelled is a workload of namespace default.
func labelled(labels ...string) Workload {
	w := Workload{Namespace: "default", Labels: map[string]string{}}
	for _, l := range labels {
		name, value, _ := strings.Cut(l, "=")
		w.Labels[name] = value
	}
	return w
}

const threeHosts = `kind: ServiceEntry
metadata: {name: three}
spec:
  hosts: [a.com, b.com, c.com]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.com]
  addresses: [192.0.2.1]
  ports: [{number: 5432, name: db, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.2}]
`

func TestAMatchIsForItsSourceOnly(t *testing.T) {
	t.Parallel()
	s, issues := build(t, threeHosts+`
---
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [a.com, db.com]
  http:
  - match: [{sourceLabels: {app: x}}, {sourceNamespace: other}]
    route: [{destination: {host: b.com}}]
  - match: [{sourceLabels: {app: z, tier: "1"}, uri: {prefix: /}}]
    route: [{destination: {host: c.com}}]
  tls:
  - match: [{sniHosts: [a.com], sourceLabels: {app: x}}, {sniHosts: [a.com], sourceNamespace: other}]
    route: [{destination: {host: b.com}}]
  - match: [{sniHosts: [a.com], sourceLabels: {app: z, tier: "1"}}]
    route: [{destination: {host: c.com}}]
  tcp:
  - match: [{sourceLabels: {app: x}}, {sourceNamespace: other}]
    route: [{destination: {host: b.com, port: {number: 80}}}]
  - match: [{port: 5432, sourceLabels: {app: z, tier: "1"}}]
    route: [{destination: {host: c.com, port: {number: 80}}}]
`, Options{})
	if len(issues) > 0 {
		t.Error(issues)
	}
	for _, tt := range []struct {
		w         Workload
		http, tcp string
	}{
		{labelled(), "a.com", "db.com"},
		{labelled("app=x"), "b.com", "b.com"},
		{labelled("app=x", "tier=1"), "b.com", "b.com"},
		{labelled("app=z"), "a.com", "db.com"},
		{labelled("app=z", "tier=1"), "c.com", "c.com"},
		{Workload{Namespace: "other"}, "b.com", "b.com"},
		{Workload{Namespace: "third", Labels: map[string]string{"app": "x"}}, "b.com", "b.com"},
	} {
		v := s.View(tt.w)
		if got := destinationsOf(v)["a.com"]; got != "outbound|80||"+tt.http {
			t.Errorf("%+v: http goes to %s, want %s", tt.w, got, tt.http)
		}
		if got := v.Listener(443).MatchTLS("a.com", netip.Addr{}).Destinations[0].Cluster.Host; got != tt.http {
			t.Errorf("%+v: tls goes to %s, want %s", tt.w, got, tt.http)
		}
		if got := v.Listener(5432).MatchTCP(netip.MustParseAddr("192.0.2.1")).Destinations[0].Cluster.Host; got != tt.tcp {
			t.Errorf("%+v: tcp goes to %s, want %s", tt.w, got, tt.tcp)
		}
	}
}

func TestAVirtualServiceWithNothingForAWorkloadIsAsGoodAsNone(t *testing.T) {
	t.Parallel()
	s, _ := build(t, threeHosts+`
---
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [a.com, unregistered.com]
  http:
  - match: [{sourceLabels: {app: x}}, {port: 81}]
    route: [{destination: {host: b.com}}]
`, Options{})
	for w, want := range map[string][2]string{"app=x": {"outbound|80||b.com", "outbound|80||b.com"}, "app=z": {"outbound|80||a.com", ""}} {
		v := s.View(labelled(w))
		for i, host := range []string{"a.com", "unregistered.com"} {
			if got := destinationsOf(v)[host]; got != want[i] {
				t.Errorf("%s: %s goes to %q, want %q", w, host, got, want[i])
			}
		}
	}
}

func TestOnlyLabelsThatSomethingSelectsMakeAnotherView(t *testing.T) {
	t.Parallel()
	s, _ := build(t, threeHosts+`
---
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [a.com]
  http:
  - match: [{sourceLabels: {app: x, tier: "1"}}]
    route: [{destination: {host: b.com}}]
`, Options{})
	plain := s.View(labelled())
	for _, w := range []Workload{labelled("app=z"), labelled("app=x"), labelled("tier=1", "more=z")} {
		if s.View(w) != plain {
			t.Errorf("%v has a view of its own", w.Labels)
		}
	}
	selected := s.View(labelled("app=x", "tier=1"))
	if selected == plain || selected != s.View(labelled("app=x", "tier=1", "more=z")) {
		t.Error("the selected ones do not have one view")
	}
}

// TestASharedViewIsWhatAWorkloadWouldSeeAlone draws selectors and workloads, and asks
// a snapshot that has many views and one that is fresh.
func TestASharedViewIsWhatAWorkloadWouldSeeAlone(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	labels := func() map[string]string {
		out := map[string]string{}
		for range r.IntN(3) {
			out[string(rune('a'+r.IntN(3)))] = string(rune('p' + r.IntN(2)))
		}
		return out
	}
	flow := func(labels map[string]string) string {
		var parts []string
		for name, value := range labels {
			parts = append(parts, name+": "+value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	for range 50 {
		documents := []string{threeHosts}
		for i, host := range []string{"a.com", "b.com", "c.com"} {
			documents = append(documents,
				fmt.Sprintf("kind: VirtualService\nmetadata: {name: v%d}\nspec: {hosts: [%s], http: [{match: [{sourceLabels: %s}], route: [{destination: {host: a.com}}]}, {match: [{sourceLabels: %s}], route: [{destination: {host: b.com}}]}]}",
					i, host, flow(labels()), flow(labels())),
				fmt.Sprintf("kind: DestinationRule\nmetadata: {name: all%d}\nspec: {host: %s, trafficPolicy: {tls: {mode: DISABLE}}}", i, host),
				fmt.Sprintf("kind: DestinationRule\nmetadata: {name: some%d}\nspec: {host: %s, workloadSelector: {matchLabels: %s}, trafficPolicy: {tls: {mode: DISABLE}}}", i, host, flow(labels())))
		}
		text := join3(documents...)
		shared, _ := build(t, text, Options{})
		for range 20 {
			w := Workload{Namespace: "default", Labels: labels()}
			alone, _ := build(t, text, Options{})
			if a, b := followedBy(shared.View(w)), followedBy(alone.View(w)); !maps.Equal(a, b) {
				t.Fatalf("%v in\n%s\nshares a view that leads to %v, alone it sees %v", w.Labels, text, a, b)
			}
		}
	}
}

// followedBy is destinationsOf with the rules that are followed.
func followedBy(v *View) map[string]string {
	out := destinationsOf(v)
	v.EachCluster(func(c *Cluster) {
		if c.Port == 80 {
			out["rule of "+c.Host] = c.PolicySrc.Name
		}
	})
	return out
}

// destinationsOf is where requests on port 80 go, by host.
func destinationsOf(v *View) map[string]string {
	out := make(map[string]string)
	for _, host := range []string{"a.com", "b.com", "c.com", "unregistered.com"} {
		if vh := v.Listener(80).MatchHTTP([]byte(host)); vh != nil {
			route, _ := vh.Match(request{})
			out[host] = route.Destinations[0].Cluster.Name
		}
	}
	return out
}
