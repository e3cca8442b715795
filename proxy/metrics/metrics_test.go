package metrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

func view(t testing.TB, hosts ...string) *mesh.View {
	t.Helper()
	text := ""
	for _, h := range hosts {
		text += fmt.Sprintf("---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s, namespace: shop}\nspec:\n  hosts: [%s]\n  ports: [{number: 80, name: http, protocol: HTTP}]\n  resolution: DNS\n",
			strings.ReplaceAll(h, ".", "-"), h)
	}
	resources, issues := mesh.Decode("test.yaml", []byte(text), mesh.DecodeOptions{})
	snapshot, more := mesh.Build(resources, mesh.Options{})
	if issues = append(issues, more...); issues.HasErrors() {
		t.Fatal(issues)
	}
	return snapshot.View(mesh.Workload{Namespace: "shop"})
}

// series gives what is shown, "name{label=value,…}" ▸ value; of histograms the count.
func series(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, x := range f.Metric {
			var labels []string
			for _, l := range x.Label {
				if l.GetValue() != unknown && l.GetValue() != "" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			key := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			switch {
			case x.Counter != nil:
				all[key] = x.Counter.GetValue()
			case x.Gauge != nil:
				all[key] = x.Gauge.GetValue()
			case x.Histogram != nil:
				all[key] = float64(x.Histogram.GetSampleCount())
			}
		}
	}
	return all
}

func about(all map[string]float64, part string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for key := range maps.Keys(all) {
			if strings.Contains(key, part) && !yield(key) {
				return
			}
		}
	})
}

func TestARequestIsCountedUnderIstiosNamesAndLabels(t *testing.T) {
	t.Parallel()
	m := New("test")
	w := m.Workload(mesh.Workload{Namespace: "shop", Name: "cart-v1", Labels: map[string]string{"app": "cart", "version": "v1"}})
	v := view(t, "a.test")
	w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: v})
	w.Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: v.Clusters()[0], Status: 200,
		Duration: 7 * time.Millisecond, Received: 100, Sent: 2000})
	const want = `
# HELP istio_requests_total HTTP requests that ended, whoever answered them.
# TYPE istio_requests_total counter
istio_requests_total{connection_security_policy="unknown",destination_app="unknown",destination_canonical_revision="unknown",destination_canonical_service="unknown",destination_cluster="unknown",destination_principal="unknown",destination_service="a.test",destination_service_name="a.test",destination_service_namespace="shop",destination_version="unknown",destination_workload="unknown",destination_workload_namespace="unknown",grpc_response_status="",reporter="source",request_protocol="http",response_code="200",response_flags="-",source_app="cart",source_canonical_revision="v1",source_canonical_service="cart",source_cluster="unknown",source_principal="unknown",source_version="v1",source_workload="cart-v1",source_workload_namespace="shop"} 1
`
	if err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(want), "istio_requests_total"); err != nil {
		t.Error(err)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		sums := map[string]float64{"istio_request_duration_milliseconds": 7, "istio_request_bytes": 100, "istio_response_bytes": 2000}
		if wanted, ok := sums[f.GetName()]; ok {
			h := f.Metric[0].Histogram
			if h.GetSampleSum() != wanted || h.GetSampleCount() != 1 || len(h.Bucket) != 19 {
				t.Errorf("%s: %v", f.GetName(), h)
			}
			for _, b := range h.Bucket {
				if inside := b.GetUpperBound() >= wanted; (b.GetCumulativeCount() == 1) != inside {
					t.Errorf("%s: %v up to %v", f.GetName(), b.GetCumulativeCount(), b.GetUpperBound())
				}
			}
		}
	}
}

func TestAServerCannotMakeSeriesWithoutEnd(t *testing.T) {
	t.Parallel()
	m := New("test")
	w := m.Workload(mesh.Workload{})
	c := view(t, "a.test").Clusters()[0]
	total := 0.0
	for status := range 1000 {
		for _, grpc := range []int{-5, 3, 16, 99, 1 << 40} {
			w.Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: c, Status: status, GRPC: grpc != 3, GRPCStatus: grpc})
			total++
		}
	}
	all := series(t, m)
	shown := about(all, "istio_requests_total")
	if len(shown) > maxOutcomes+20 {
		t.Errorf("%d series", len(shown))
	}
	sum := 0.0
	for _, key := range shown {
		sum += all[key]
	}
	if sum != total {
		t.Errorf("%v of %v requests are counted", sum, total)
	}
}

func TestSeriesOfAServiceThatIsRegisteredNoMoreVanishAfterTheGrace(t *testing.T) {
	t.Parallel()
	m := New("test")
	now := time.Now()
	m.now = func() time.Time { return now }
	w := m.Workload(mesh.Workload{Namespace: "shop"})
	old := view(t, "a.test", "b.test")
	w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: old})
	for _, c := range append(old.Clusters(), nil, &mesh.Cluster{Name: "BlackHoleCluster"}) {
		w.Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: c, Status: 200})
		w.Observe(proxy.Event{Kind: proxy.TCPClosed, Cluster: c})
	}
	w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: view(t, "b.test")})
	if all := series(t, m); len(about(all, "=a.test")) == 0 {
		t.Error("gone before the grace")
	}
	now = now.Add(Grace + time.Second)
	all := series(t, m)
	if left := about(all, "=a.test"); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
	for _, kept := range []string{"=b.test", "BlackHoleCluster", "istio_requests_total{reporter=source,source_canonical_revision=latest,source_workload_namespace=shop,request_protocol"} {
		if len(about(all, strings.Split(kept, "{")[0])) == 0 {
			t.Errorf("%s has vanished too", kept)
		}
	}
}

func TestSeriesOfAServiceThatComesBackInTimeGoOn(t *testing.T) {
	t.Parallel()
	m := New("test")
	now := time.Now()
	m.now = func() time.Time { return now }
	w := m.Workload(mesh.Workload{})
	for range 5 {
		v := view(t, "a.test")
		w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: v})
		w.Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: v.Clusters()[0], Status: 200})
		w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: view(t)})
		now = now.Add(Grace - time.Second)
	}
	all := series(t, m)
	keys := about(all, "istio_requests_total")
	if len(keys) != 1 || all[keys[0]] != 5 {
		t.Errorf("%v", keys)
	}
}

func TestReplicasShareTheirSeriesAndTheLastToGoTakesThemAlong(t *testing.T) {
	t.Parallel()
	m := New("test")
	now := time.Now()
	m.now = func() time.Time { return now }
	who := mesh.Workload{Namespace: "shop", Name: "cart"}
	a, b := m.Workload(who), m.Workload(who)
	other := m.Workload(mesh.Workload{Namespace: "shop", Name: "other"})
	for _, w := range []*Workload{a, b, other} {
		w.Observe(proxy.Event{Kind: proxy.ConnectionAccepted})
	}
	const key = "sluice_connections_total{source_workload=cart,source_workload_namespace=shop}"
	if all := series(t, m); all[key] != 2 {
		t.Errorf("%v", all[key])
	}
	a.Close()
	now = now.Add(2 * Grace)
	if all := series(t, m); all[key] != 2 {
		t.Errorf("with one replica left: %v", all[key])
	}
	b.Close()
	if all := series(t, m); all[key] != 2 {
		t.Error("gone before the grace")
	}
	now = now.Add(2 * Grace)
	all := series(t, m)
	if len(about(all, "=cart")) != 0 || len(about(all, "=other")) == 0 {
		t.Errorf("%q", about(all, "sluice_connections"))
	}
	if len(m.sources) != 1 {
		t.Errorf("%d sources are held on to", len(m.sources))
	}
}

func TestCountingIsExactUnderManyGoroutinesAndScrapes(t *testing.T) {
	t.Parallel()
	m := New("test")
	w := m.Workload(mesh.Workload{})
	views := []*mesh.View{view(t, "a.test", "b.test"), view(t, "b.test", "a.test")}
	var all sync.WaitGroup
	const workers, each = 8, 2000
	for i := range workers {
		all.Go(func() {
			for n := range each {
				c := views[n%2].Clusters()[(n/2)%2]
				w.Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: c, Status: 200 + n%5})
				switch {
				case n%500 == 0:
					w.Observe(proxy.Event{Kind: proxy.ConfigurationInForce, View: views[i%2]})
				case n%701 == 0:
					m.registry.Gather()
				}
			}
		})
	}
	all.Wait()
	shown := series(t, m)
	sum := 0.0
	for _, key := range about(shown, "istio_requests_total") {
		sum += shown[key]
	}
	if sum != workers*each {
		t.Errorf("%v of %v", sum, workers*each)
	}
}

func TestCountingARequestAllocatesNothing(t *testing.T) {
	m := New("test")
	var w proxy.Observer = m.Workload(mesh.Workload{})
	c := view(t, "a.test").Clusters()[0]
	e := proxy.Event{Kind: proxy.RequestEnded, Cluster: c, Status: 200, Flags: "UF,URX", Duration: time.Millisecond, Received: 80, Sent: 900}
	w.Observe(e)
	if n := testing.AllocsPerRun(1000, func() { w.Observe(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequestEnded(b *testing.B) {
	m := New("test")
	var w proxy.Observer = m.Workload(mesh.Workload{})
	e := proxy.Event{Kind: proxy.RequestEnded, Cluster: view(b, "a.test").Clusters()[0], Status: 200, Duration: time.Millisecond, Received: 80, Sent: 900}
	b.ReportAllocs()
	for b.Loop() {
		w.Observe(e)
	}
}

func BenchmarkScrapeOf1000Services(b *testing.B) {
	m := New("test")
	w := m.Workload(mesh.Workload{})
	for i := range 1000 {
		w.Observe(proxy.Event{Kind: proxy.RequestEnded, Cluster: &mesh.Cluster{Host: fmt.Sprint(i)}, Status: 200})
	}
	for b.Loop() {
		if _, err := m.registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDNSIsCountedByWhatCameBack(t *testing.T) {
	t.Parallel()
	m := New("test")
	code := 0
	var fail error
	ask := m.CountDNS(func(context.Context, *mdns.Msg, string) (*mdns.Msg, error) {
		return &mdns.Msg{MsgHdr: mdns.MsgHdr{Rcode: code}}, fail
	})
	for _, code = range []int{mdns.RcodeSuccess, mdns.RcodeSuccess, mdns.RcodeNameError, mdns.RcodeServerFailure, 3000, 3001} {
		ask(context.Background(), nil, "")
	}
	for _, fail = range []error{context.DeadlineExceeded, errors.New("unreachable"), context.Canceled} {
		ask(context.Background(), nil, "")
	}
	all := series(t, m)
	for key, want := range map[string]float64{
		"sluice_dns_queries_total{result=NOERROR}": 2, "sluice_dns_queries_total{result=NXDOMAIN}": 1,
		"sluice_dns_queries_total{result=SERVFAIL}": 1, "sluice_dns_queries_total{result=other}": 2,
		"sluice_dns_queries_total{result=timeout}": 1, "sluice_dns_queries_total{result=error}": 1,
		"sluice_dns_queries_total{result=canceled}": 1, "sluice_dns_query_failures_total{}": 5,
	} {
		if all[key] != want {
			t.Errorf("%s is %v, want %v", key, all[key], want)
		}
	}
}

func TestNothingIsPutIntoTheGlobalRegistry(t *testing.T) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "istio_") || strings.HasPrefix(f.GetName(), "sluice_") {
			t.Errorf("%s", f.GetName())
		}
	}
}
