package mesh

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestViewsFollowExportTo(t *testing.T) {
	t.Parallel()
	in := func(namespace, name, exportTo string) string {
		return "kind: ServiceEntry\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec: {hosts: [" + name + ".com], " + onlyHTTP + exportTo + "}"
	}
	s, _ := build(t, join3(
		in("other", "everyone", ""), in("other", "star", ", exportTo: ['*']"), in("other", "own", ", exportTo: ['.']"),
		in("other", "named", ", exportTo: [default, third]"), in("other", "nobody", ", exportTo: ['~']"),
	), Options{})
	want := map[string]string{
		"default": "everyone star named",
		"other":   "everyone star own",
		"third":   "everyone star named",
		"fourth":  "everyone star",
	}
	for namespace, names := range want {
		got := ""
		for _, name := range []string{"everyone", "star", "own", "named", "nobody"} {
			if httpCluster(s.View(Workload{Namespace: namespace}), 80, name+".com") != "" {
				got += " " + name
			}
		}
		if got != " "+names {
			t.Errorf("%s sees%s, want %s", namespace, got, names)
		}
	}
}

func TestSidecarIsTheSelectorsThenTheNamespacesThenTheRoots(t *testing.T) {
	t.Parallel()
	sidecar := func(namespace, name, selector, mode string) string {
		return "kind: Sidecar\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec: {" + selector + "outboundTrafficPolicy: {mode: " + mode + "}}"
	}
	s, _ := build(t, join3(
		sidecar("istio-system", "root", "", "ALLOW_ANY"),
		sidecar("own", "all", "", "REGISTRY_ONLY"),
		sidecar("own", "some", "workloadSelector: {labels: {app: x}}, ", "ALLOW_ANY"),
		"kind: Sidecar\nmetadata: {name: silent, namespace: silent}\nspec: {egress: [{hosts: ['*/*']}]}",
	), Options{})
	tests := []struct {
		workload Workload
		want     OutboundPolicy
	}{
		{Workload{}, AllowAny},
		{Workload{Namespace: "own"}, RegistryOnly},
		{Workload{Namespace: "own", Labels: map[string]string{"app": "x", "more": "y"}}, AllowAny},
		{Workload{Namespace: "own", Labels: map[string]string{"app": "y"}}, RegistryOnly},
		{Workload{Namespace: "silent"}, RegistryOnly}, // the mesh's
	}
	for _, tt := range tests {
		if got := s.View(tt.workload).Policy; got != tt.want {
			t.Errorf("%+v: policy %d, want %d", tt.workload, got, tt.want)
		}
	}
}

func TestSidecarHostsLimitWhatIsVisible(t *testing.T) {
	t.Parallel()
	in := func(namespace, host string) string {
		return "kind: ServiceEntry\nmetadata: {name: " + host + ", namespace: " + namespace + "}\nspec: {hosts: [" + host + "], " + onlyHTTP + "}"
	}
	s, _ := build(t, join3(
		in("default", "a.own.com"), in("other", "b.other.com"), in("other", "c.wild.com"), in("third", "d.third.com"),
		"kind: Sidecar\nmetadata: {name: s}\nspec: {egress: [{hosts: ['./*', 'other/*.wild.com']}]}",
	), Options{})
	v := s.View(Workload{})
	for host, want := range map[string]bool{"a.own.com": true, "b.other.com": false, "c.wild.com": true, "d.third.com": false} {
		if got := httpCluster(v, 80, host) != ""; got != want {
			t.Errorf("%s visible: %t, want %t", host, got, want)
		}
	}
	if s.View(Workload{Namespace: "third"}).Listener(80).MatchHTTP([]byte("b.other.com")) == nil {
		t.Error("a Sidecar limits another namespace")
	}
}

func TestDestinationRuleOfTheClientWinsOverTheServicesAndTheRoots(t *testing.T) {
	t.Parallel()
	rule := func(namespace, host, timeout, more string) string {
		return "kind: DestinationRule\nmetadata: {name: r" + timeout + ", namespace: " + namespace + "}\nspec: {host: '" + host + "', " + more + "trafficPolicy: {connectionPool: {tcp: {connectTimeout: " + timeout + "}}}}"
	}
	s, _ := build(t, join3(
		"kind: ServiceEntry\nmetadata: {name: s, namespace: service}\nspec: {hosts: [a.x.com], "+onlyHTTP+"}",
		rule("istio-system", "a.x.com", "1s", ""),
		rule("service", "*.x.com", "2s", ""),
		rule("client", "*.com", "3s", "exportTo: ['.'], "),
		rule("client", "*.x.com", "4s", ""),
		rule("private", "a.x.com", "5s", "exportTo: [nobody], "),
	), Options{})
	want := map[string]time.Duration{
		"client":  4 * time.Second, // own namespace, most specific there
		"service": 2 * time.Second,
		"third":   2 * time.Second, // the service's
		"private": 2 * time.Second, // its own is not shown to itself
	}
	for namespace, timeout := range want {
		c := s.View(Workload{Namespace: namespace}).Listener(80).MatchHTTP([]byte("a.x.com")).Routes[0].Destinations[0].Cluster
		if c.ConnectTimeout != timeout {
			t.Errorf("%s: %s from %s, want %s", namespace, c.ConnectTimeout, c.PolicySrc.Name, timeout)
		}
	}
}

func TestARuleForAShortNameIsForTheNameInItsNamespace(t *testing.T) {
	t.Parallel()
	rule := func(namespace, seconds string) string {
		return "kind: DestinationRule\nmetadata: {name: r, namespace: " + namespace + "}\nspec: {host: reviews, trafficPolicy: {connectionPool: {tcp: {connectTimeout: " + seconds + "}}}}"
	}
	for host, want := range map[string]time.Duration{
		"reviews.default.svc.cluster.local": time.Second,
		"reviews.other.svc.cluster.local":   defaultConnectTimeout,
		"reviews":                           time.Second,
	} {
		v := view(t, join3(entry("s", "hosts: ["+host+"], "+onlyHTTP), rule("default", "1s"), rule("other", "2s")))
		if got := v.Listener(80).MatchHTTP([]byte(host)).Routes[0].Destinations[0].Cluster.ConnectTimeout; got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestPortLevelSettingsReplaceTheWholePolicy(t *testing.T) {
	t.Parallel()
	v := view(t, join3(
		entry("s", "hosts: [x.com], ports: [{number: 80, name: a, protocol: HTTP}, {number: 443, name: b, protocol: HTTP}], resolution: DNS"),
		"kind: DestinationRule\nmetadata: {name: r}\nspec: {host: x.com, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 1s}}, portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]}}",
	))
	plain := v.Listener(80).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster
	secure := v.Listener(443).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster
	if plain.TLS != nil || plain.ConnectTimeout != time.Second {
		t.Errorf("port 80: %+v", plain)
	}
	if secure.TLS == nil || secure.ConnectTimeout != defaultConnectTimeout {
		t.Errorf("port 443 inherits: %+v", secure)
	}
}

func TestViewsAndSnapshotsOfTheSameResourcesMayBeBuiltAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := build(t, entry("s", "hosts: [x.com], "+onlyHTTP), Options{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			other, _ := Build(s.Resources(), Options{})
			for _, snapshot := range []*Snapshot{s, other} {
				if httpCluster(snapshot.View(Workload{Namespace: fmt.Sprintf("n%d", i%3)}), 80, "x.com") == "" {
					t.Error("not found")
				}
			}
		})
	}
	all.Wait()
}

func TestWorkloadsThatSeeTheSameShareAView(t *testing.T) {
	t.Parallel()
	s, _ := build(t, entry("s", "hosts: [x.com], "+onlyHTTP), Options{})
	if s.View(Workload{}) != s.View(Workload{Namespace: "default", Labels: map[string]string{"app": "x"}}) {
		t.Error("two views for the same")
	}
}
