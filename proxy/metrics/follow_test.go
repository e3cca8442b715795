package metrics

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// A pod is served before its owner and labels are known; then they are, and later they
// change. What comes from then on is counted under them, and its open connections are
// shown there.
func TestAWorkloadIsCountedUnderTheLabelsThatItHas(t *testing.T) {
	t.Parallel()
	m := New("test")
	now := time.Now()
	m.now = func() time.Time { return now }
	v := view(t, "a.test")
	w := m.Workload(mesh.Workload{Namespace: "shop"})
	follow := func(name string) {
		who := mesh.Workload{Namespace: "shop", Name: name}
		w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: v, Snapshot: &mesh.Snapshot{}, Workload: &who})
	}
	request := func() {
		w.Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: v.Clusters()[0], Status: 200})
	}
	follow("")
	w.Observe(proxy.Event{Kind: proxy.ConnectionAccepted})
	w.Observe(proxy.Event{Kind: proxy.ConnectionAccepted})
	request()
	follow("cart")
	w.Observe(proxy.Event{Kind: proxy.ConnectionEnded})
	request()
	request()
	all := series(t, m)
	for key, want := range map[string]float64{
		"sluice_connections{source_workload_namespace=shop}":                            0,
		"sluice_connections{source_workload=cart,source_workload_namespace=shop}":       1,
		"sluice_connections_total{source_workload_namespace=shop}":                      2,
		"sluice_connections_total{source_workload=cart,source_workload_namespace=shop}": 0,
		"sluice_config_generation{}":                                                    2,
	} {
		if got, ok := all[key]; !ok || got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if keys := about(all, "istio_requests_total"); len(keys) != 2 || all[keys[0]]+all[keys[1]] != 3 {
		t.Errorf("%q", keys)
	}
	now = now.Add(Grace + time.Second)
	for _, key := range about(series(t, m), "sluice_connections") {
		if key == "sluice_connections{source_workload_namespace=shop}" {
			t.Error("the labels of before are still shown")
		}
	}
	w.Close()
	now = now.Add(Grace + time.Second)
	series(t, m)
	if len(m.sources) != 0 || len(m.config.followed) != 0 {
		t.Errorf("%d sources and %d snapshots are held on to", len(m.sources), len(m.config.followed))
	}
}

// However many workloads follow it, a snapshot is one configuration.
func TestASnapshotIsPutInForceOnceHoweverManyFollow(t *testing.T) {
	t.Parallel()
	m := New("test")
	v := view(t)
	all := make([]*Workload, 10)
	for i := range all {
		all[i] = m.Workload(mesh.Workload{Name: fmt.Sprint("w", i)})
	}
	for range 3 {
		next := new(mesh.Snapshot)
		for _, w := range all {
			w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: v, Snapshot: next})
		}
	}
	if got := series(t, m)["sluice_config_generation{}"]; got != 3 {
		t.Errorf("%v configurations, want 3", got)
	}
}

// BenchmarkAChangeForFiveHundredWorkloads is what metrics add when all follow a change,
// each having used a hundred services: of their own labels, and as replicas of one.
func BenchmarkAChangeForFiveHundredWorkloads(b *testing.B) {
	hosts := make([]string, 100)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.test", i)
	}
	views := []*mesh.View{view(b, hosts...), view(b, hosts...)}
	for name, owners := range map[string]int{"each of its own": 500, "replicas": 1} {
		b.Run(name, func(b *testing.B) {
			m := New("test")
			all := make([]*Workload, 500)
			for i := range all {
				all[i] = m.Workload(mesh.Workload{Namespace: "shop", Name: fmt.Sprint("w", i%owners)})
				for _, c := range views[0].Clusters() {
					all[i].Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: c, Status: 200})
				}
			}
			i := 0
			for b.Loop() {
				i++
				next := new(mesh.Snapshot)
				for _, w := range all {
					w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: views[i%2], Snapshot: next})
				}
			}
		})
	}
}
