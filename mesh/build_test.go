package mesh

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/egresspage"
)

const apiHeader = "apiVersion: networking.istio.io/v1\n"

// build decodes documents without an apiVersion and builds them; nothing may be
// an error.
func build(t testing.TB, documents string, opts Options) (*Snapshot, Issues) {
	t.Helper()
	var b strings.Builder
	for doc := range strings.SplitSeq(documents, "\n---\n") {
		b.WriteString("---\n" + apiHeader + strings.TrimLeft(doc, "\n") + "\n")
	}
	resources, issues := Decode("test.yaml", []byte(b.String()), DecodeOptions{})
	if issues.HasErrors() {
		t.Fatalf("%s\nin\n%s", issues, b.String())
	}
	s, more := Build(resources, opts)
	return s, append(issues, more...)
}

// view is what a workload of namespace default sees.
func view(t testing.TB, documents string) *View {
	t.Helper()
	s, _ := build(t, documents, Options{})
	return s.View(Workload{})
}

// entry writes a ServiceEntry in a line.
func entry(name, spec string) string {
	return "kind: ServiceEntry\nmetadata: {name: " + name + "}\nspec: {" + spec + "}"
}

func join3(documents ...string) string { return strings.Join(documents, "\n---\n") }

// httpCluster names the cluster that a request for / of a host gets, "" for none.
func httpCluster(v *View, port uint16, host string) string {
	l := v.Listener(port)
	if l == nil {
		return ""
	}
	vh := l.MatchHTTP([]byte(host))
	if vh == nil {
		return ""
	}
	route, _ := vh.Match(request{})
	if route == nil {
		return "404"
	}
	return route.Destinations[0].Cluster.Name
}

const onlyHTTP = "ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS"

func TestConflictsAreWarnedOfNamingBoth(t *testing.T) {
	t.Parallel()
	vs := func(name, host, to string) string {
		return "kind: VirtualService\nmetadata: {name: " + name + "}\nspec: {hosts: [" + host + "], http: [{route: [{destination: {host: " + to + "}}]}]}"
	}
	dr := func(name, host string) string {
		return "kind: DestinationRule\nmetadata: {name: " + name + "}\nspec: {host: " + host + "}"
	}
	policed := func(name, host string) string {
		return "kind: DestinationRule\nmetadata: {name: " + name + "}\nspec: {host: " + host + ", trafficPolicy: {tls: {mode: DISABLE}}}"
	}
	originating := func(host, policy string) string {
		return "kind: DestinationRule\nmetadata: {name: r}\nspec: {host: " + host + ", trafficPolicy: {" + policy + "}}"
	}
	tests := map[string]struct{ documents, want string }{
		"host and port twice":       {join3(entry("a", "hosts: [x.com], "+onlyHTTP), entry("b", "hosts: [X.com], "+onlyHTTP)), "ServiceEntry default/a"},
		"another port is fine":      {join3(entry("a", "hosts: [x.com], "+onlyHTTP), entry("b", "hosts: [x.com], ports: [{number: 81, name: http, protocol: HTTP}], resolution: DNS")), ""},
		"virtual host twice":        {join3(entry("s", "hosts: [x.com], "+onlyHTTP), vs("a", "x.com", "x.com"), vs("b", "x.com", "x.com")), "VirtualService default/a"},
		"unknown destination":       {join3(entry("s", "hosts: [x.com], "+onlyHTTP), vs("a", "x.com", "y.com")), "y.com"},
		"rule twice":                {join3(entry("s", "hosts: [x.com], "+onlyHTTP), policed("a", "x.com"), policed("b", "x.com")), "DestinationRule default/a"},
		"rule for nobody":           {dr("a", "x.com"), "x.com"},
		"rule for a wildcard":       {join3(entry("s", "hosts: [a.x.com], "+onlyHTTP), dr("a", "\"*.x.com\"")), ""},
		"http routes of a TLS port": {join3(entry("s", "hosts: [x.com], ports: [{number: 443, name: tls, protocol: HTTPS}], resolution: DNS"), vs("a", "x.com", "x.com")), "carries HTTP"},
		"TLS within TLS": {join3(entry("s", "hosts: [x.com], ports: [{number: 443, name: tls, protocol: HTTPS}], resolution: DNS"),
			"kind: DestinationRule\nmetadata: {name: r}\nspec: {host: x.com, trafficPolicy: {tls: {mode: SIMPLE}}}"), "TLS already"},
		"TLS for what a route sends in the clear": {join3(entry("s", "hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: HTTPS}], resolution: DNS"),
			"kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [x.com], http: [{route: [{destination: {host: x.com, port: {number: 443}}}]}]}",
			"kind: DestinationRule\nmetadata: {name: r}\nspec: {host: x.com, trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]}}"), ""},
		"TLS to port 80":                              {join3(entry("s", "hosts: [x.com], "+onlyHTTP), originating("x.com", "tls: {mode: SIMPLE}")), "targetPort: 443"},
		"TLS to port 80 by a wildcard":                {join3(entry("s", "hosts: [a.x.com], "+onlyHTTP), originating("'*.x.com'", "tls: {mode: SIMPLE}")), "port 80 of a.x.com"},
		"TLS to port 80 by port":                      {join3(entry("s", "hosts: [x.com], "+onlyHTTP), originating("x.com", "portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]")), "spec.trafficPolicy.portLevelSettings[0].tls"},
		"settings for a port that is not there":       {join3(entry("s", "hosts: [x.com], "+onlyHTTP), originating("x.com", "portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}, {port: {number: 8443}, tls: {mode: DISABLE}}]")), `spec.trafficPolicy.portLevelSettings[1].port.number "8443": no ServiceEntry registers this port of x.com, so these settings have no effect`},
		"settings for a port of another ServiceEntry": {join3(entry("a", "hosts: [x.com], "+onlyHTTP), entry("b", "hosts: [x.com], ports: [{number: 81, name: http, protocol: HTTP}], resolution: DNS"), originating("x.com", "portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}]")), ""},
		"settings for a port of the wildcard over it": {join3(entry("s", "hosts: ['*.x.com'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE"), originating("a.x.com", "portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}, {port: {number: 81}, tls: {mode: DISABLE}}]")), `"81": no ServiceEntry registers this port of a.x.com`},
		"a wildcard's settings for a port":            {join3(entry("s", "hosts: [a.x.com], "+onlyHTTP), originating("'*.x.com'", "portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}]")), ""},
		"a subset's settings for a port": {join3(entry("s", "hosts: [x.com], "+onlyHTTP),
			"kind: DestinationRule\nmetadata: {name: r}\nspec: {host: x.com, subsets: [{name: v1, trafficPolicy: {portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}]}}]}"), "spec.subsets[0].trafficPolicy.portLevelSettings[0].port.number"},
		"TLS to a target port":      {join3(entry("s", "hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}], resolution: DNS"), originating("x.com", "tls: {mode: SIMPLE}")), ""},
		"TLS to an endpoint's port": {join3(entry("s", "hosts: [x.com], "+onlyHTTP+", endpoints: [{address: y.com, ports: {http: 443}}]"), originating("x.com", "tls: {mode: SIMPLE}")), ""},
		"TLS for a port it is not sent to": {join3(entry("s", "hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: HTTPS}], resolution: DNS"),
			"kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [x.com], http: [{route: [{destination: {host: x.com, port: {number: 443}}}]}]}",
			originating("x.com", "tls: {mode: SIMPLE}")), ""},
		"bare TCP port twice": {join3(entry("a", "hosts: [x.com], ports: [{number: 25, name: smtp, protocol: TCP}], resolution: DNS"),
			entry("b", "hosts: [y.com], ports: [{number: 25, name: smtp, protocol: TCP}], resolution: DNS")), "ServiceEntry default/a"},
		"sidecar twice": {join3("kind: Sidecar\nmetadata: {name: a}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}",
			"kind: Sidecar\nmetadata: {name: b}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}"), "Sidecar default/a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantIssue(t, tt.documents, tt.want)
		})
	}
}

// wantIssue wants nothing to be said about documents but one warning that has the words.
func wantIssue(t *testing.T, documents, want string) {
	t.Helper()
	_, issues := build(t, documents, Options{})
	switch {
	case want == "" && len(issues) == 0:
	case want == "" || len(issues) != 1:
		t.Errorf("want one warning about %q, got\n%s", want, issues)
	case issues[0].Severity != Warning || !strings.Contains(issues[0].String(), want):
		t.Errorf("want a warning that names %q, got %s", want, issues[0])
	}
}

func TestTheOlderResourceHasWhatTwoClaim(t *testing.T) {
	t.Parallel()
	v := view(t, join3(
		entry("a", "hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 1}], resolution: DNS"),
		entry("b", "hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 2}], resolution: DNS"),
	))
	c := v.Listener(80).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster
	if c.TargetPort != 1 || c.Source.Name != "a" {
		t.Errorf("got %+v", c)
	}
}

func TestTheSameObjectTwiceIsAnErrorThatNamesBothPlaces(t *testing.T) {
	t.Parallel()
	one, _ := Decode("a.yaml", []byte(egresspage.Google), DecodeOptions{})
	two, _ := Decode("b.yaml", []byte(egresspage.Google), DecodeOptions{})
	s, issues := Build(append(one, two...), Options{})
	errs := issues.Of(Error)
	if len(errs) != 2 || len(s.Resources()) != 2 {
		t.Fatalf("want two errors, got\n%s", issues)
	}
	if text := errs[0].String(); !strings.Contains(text, "a.yaml:1") || !strings.HasPrefix(text, "b.yaml:4:") {
		t.Errorf("got %s", text)
	}
}

func TestFingerprintFollowsTheSettings(t *testing.T) {
	t.Parallel()
	cluster := func(spec, rule string) *Cluster {
		documents := entry("a", "hosts: [x.com], "+spec)
		if rule != "" {
			documents = join3(documents, "kind: DestinationRule\nmetadata: {name: r}\nspec: {host: x.com, trafficPolicy: {"+rule+"}}")
		}
		return view(t, documents).Listener(80).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster
	}
	base := cluster(onlyHTTP, "").Fingerprint
	if again := cluster(onlyHTTP, "").Fingerprint; again != base {
		t.Errorf("the same settings have %x and %x", base, again)
	}
	changes := map[string]*Cluster{
		"target port": cluster("ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: DNS", ""),
		"resolution":  cluster("ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE", ""),
		"protocol":    cluster("ports: [{number: 80, name: http, protocol: HTTP2}], resolution: DNS", ""),
		"endpoint":    cluster(onlyHTTP+", endpoints: [{address: y.com}]", ""),
		"address":     cluster(onlyHTTP+", addresses: [192.0.2.1]", ""),
		"tls":         cluster(onlyHTTP, "tls: {mode: SIMPLE}"),
		"sni":         cluster(onlyHTTP, "tls: {mode: SIMPLE, sni: y.com}"),
		"passthrough": cluster(onlyHTTP+", addresses: [192.0.2.2]", "loadBalancer: {simple: PASSTHROUGH}"),
		"tunnel":      cluster(onlyHTTP, "tunnel: {targetHost: y.com, targetPort: 443}"),
		"POST":        cluster(onlyHTTP, "tunnel: {targetHost: y.com, targetPort: 443, protocol: POST}"),
	}
	seen := map[uint64]string{base: "nothing"}
	for what, c := range changes {
		if other, twice := seen[c.Fingerprint]; twice {
			t.Errorf("%s has the fingerprint of %s", what, other)
		}
		seen[c.Fingerprint] = what
	}
	for _, use := range []string{ // of connections, whatever they are
		"connectionPool: {tcp: {connectTimeout: 1s}}", "loadBalancer: {simple: RANDOM}", "loadBalancer: {simple: LEAST_CONN}",
	} {
		if cluster(onlyHTTP, use).Fingerprint != base {
			t.Errorf("%s: another fingerprint", use)
		}
	}
}

func TestEverySpellingOfABalanceIsUnderstood(t *testing.T) {
	t.Parallel()
	for spelling, want := range map[string]Balance{
		"": LeastRequest, "loadBalancer: {simple: UNSPECIFIED}": LeastRequest, "loadBalancer: {simple: LEAST_CONN}": LeastRequest,
		"loadBalancer: {simple: LEAST_REQUEST}": LeastRequest, "loadBalancer: {simple: ROUND_ROBIN}": RoundRobin,
		"loadBalancer: {simple: random}": Random, "loadBalancer: {consistentHash: {useSourceIp: true}}": LeastRequest,
	} {
		documents := entry("a", "hosts: [x.com], "+onlyHTTP)
		if spelling != "" {
			documents = join3(documents, "kind: DestinationRule\nmetadata: {name: r}\nspec: {host: x.com, trafficPolicy: {"+spelling+"}}")
		}
		if got := view(t, documents).Listener(80).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster.Balance; got != want {
			t.Errorf("%q: %d, want %d", spelling, got, want)
		}
	}
}
