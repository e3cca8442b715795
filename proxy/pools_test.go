package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// viewOf registers hosts, one entry each; "a.test 8081" has it on that port instead of 80.
func viewOf(t *testing.T, policy mesh.OutboundPolicy, hosts ...string) *mesh.View {
	t.Helper()
	var yaml strings.Builder
	for i, host := range hosts {
		port := "80"
		host, other, ok := strings.Cut(host, " ")
		if ok {
			port = other
		}
		fmt.Fprintf(&yaml, "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e%d}\nspec: {hosts: [%s], ports: [{number: %s, name: http, protocol: HTTP}], resolution: DNS}\n", i, host, port)
	}
	resources, issues := mesh.Decode("test.yaml", []byte(yaml.String()), mesh.DecodeOptions{})
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	snapshot, _ := mesh.Build(resources, mesh.Options{Policy: policy})
	return snapshot.View(mesh.Workload{})
}

// clusterOf is the cluster that a state's configuration has for a host.
func clusterOf(t *testing.T, st *state, host string) *mesh.Cluster {
	t.Helper()
	for _, c := range st.view.Clusters() {
		if c.Host == host {
			return c
		}
	}
	t.Fatal(host + " is not registered")
	return nil
}

func TestAPoolThatTheNewestSnapshotUsesIsNeverRetired(t *testing.T) {
	t.Parallel()
	p := newPools(&Server{})
	old := p.follow(viewOf(t, mesh.RegistryOnly, "kept.test", "left.test"), "default")
	latest := p.follow(viewOf(t, mesh.RegistryOnly, "kept.test"), "default")
	u := latest.upstream(clusterOf(t, latest, "kept.test"))
	if old.upstream(clusterOf(t, old, "kept.test")) != u { // a request that began earlier does not age it
		t.Error("two pools for one cluster")
	}
	gone := old.upstream(clusterOf(t, old, "left.test"))
	now := time.Now()
	for range 3 {
		p.sweepOnce(now)
		now = now.Add(leftFor + time.Second)
	}
	if u.retired || !gone.retired {
		t.Errorf("used: retired %v; unused: retired %v", u.retired, gone.retired)
	}
	if latest.upstream(&mesh.Cluster{Name: u.cluster.Name, Fingerprint: 1}) == u {
		t.Error("other settings share a pool")
	}
}

// No request comes for a host, while others come, change and go.
func TestAQuietPoolStaysWhileOtherHostsChange(t *testing.T) {
	t.Parallel()
	for policy, stays := range map[mesh.OutboundPolicy]bool{mesh.AllowAny: true, mesh.RegistryOnly: false} {
		p := newPools(&Server{})
		st := p.follow(viewOf(t, mesh.AllowAny, "quiet.test"), "default")
		quiet, unregistered := st.upstream(clusterOf(t, st, "quiet.test")), st.upstream(passthrough)
		now := time.Now()
		for i := range 60 { // every two seconds
			other := fmt.Sprintf("other%d.test", i)
			st = p.follow(viewOf(t, policy, "quiet.test", other), "default")
			st.upstream(clusterOf(t, st, other))
			now = now.Add(2 * time.Second)
			if i%5 == 0 {
				p.sweepOnce(now)
			}
		}
		if quiet.retired || st.upstream(clusterOf(t, st, "quiet.test")) != quiet {
			t.Error("the pool of a host that did not change is gone")
		}
		if unregistered.retired == stays {
			t.Errorf("policy %d: the pool of unregistered hosts: retired %v", policy, unregistered.retired)
		}
		if n := len(p.byKey); n > 30 { // those of the last 40 s
			t.Errorf("%d pools are kept", n)
		}
		for range 2 {
			p.follow(viewOf(t, policy, "quiet.test 81"), "default")
			p.sweepOnce(now)
			now = now.Add(leftFor + time.Second)
		}
		p.sweepOnce(now)
		if n := len(p.byKey); n > 1 || n == 1 && !stays || !quiet.retired {
			t.Errorf("%d pools are kept of hosts that are gone; quiet.test: retired %v", n, quiet.retired)
		}
	}
}

func TestAPoolWhoseHostComesBackInTimeStays(t *testing.T) {
	t.Parallel()
	p := newPools(&Server{})
	st := p.follow(viewOf(t, mesh.RegistryOnly, "a.test"), "default")
	u := st.upstream(clusterOf(t, st, "a.test"))
	now := time.Now()
	for range 4 {
		p.follow(viewOf(t, mesh.RegistryOnly), "default")
		p.sweepOnce(now)
		now = now.Add(leftFor - time.Second)
		p.follow(viewOf(t, mesh.RegistryOnly, "a.test"), "default")
		p.sweepOnce(now)
		now = now.Add(leftFor - time.Second)
	}
	if u.retired {
		t.Error("it was retired")
	}
}
