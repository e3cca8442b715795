package mesh

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
)

// aCrowd is hosts h0.com, h1.com, … with a rule each, and the places of both.
func aCrowd(n int) []Place {
	var out []Place
	for i := range n {
		host := fmt.Sprintf("h%d.com", i)
		out = append(out,
			Place{&Resource{Kind: ServiceEntry, Namespace: "default", Name: host, Spec: &networking.ServiceEntry{
				Hosts: []string{host}, Resolution: networking.ServiceEntry_DNS,
				Ports: []*networking.ServicePort{{Number: 80, Name: "http", Protocol: "HTTP"}, {Number: 9, Name: "tcp", Protocol: "TCP"}},
			}}, "", 2 * i},
			ruleFor(i, 1))
	}
	return out
}

func ruleFor(i int, seconds int64) Place {
	host := fmt.Sprintf("h%d.com", i)
	return Place{&Resource{Kind: DestinationRule, Namespace: "default", Name: host, Spec: &networking.DestinationRule{
		Host: host, TrafficPolicy: &networking.TrafficPolicy{ConnectionPool: &networking.ConnectionPoolSettings{
			Tcp: &networking.ConnectionPoolSettings_TCPSettings{ConnectTimeout: &durationpb.Duration{Seconds: seconds}}}},
	}}, "", 2*i + 1}
}

func TestAChangeLeavesOtherHostsAsTheyAre(t *testing.T) {
	t.Parallel()
	places := aCrowd(20)
	index := NewIndex(Options{})
	type answer struct {
		vh      *VirtualHost
		cluster *Cluster
		sni     *TCPRoute
		name    *Name
	}
	ask := func(s *Snapshot) (out [20]answer) {
		v := s.View(Workload{})
		for i := range out {
			host := fmt.Sprintf("h%d.com", i)
			vh := v.Listener(80).MatchHTTP([]byte(host))
			out[i] = answer{vh, vh.Routes[0].Destinations[0].Cluster, v.Listener(80).MatchTLS(host, anyAddress), v.Name(host)}
		}
		return out
	}
	before := ask(index.Change(nil, places))
	rule := places[2*7+1]
	for round := range int64(100) {
		next := ruleFor(7, 2+round)
		now := ask(index.Change([]*Resource{rule.Resource}, []Place{next}))
		rule = next
		for i := range now {
			if same := now[i] == before[i]; same != (i != 7) {
				t.Fatalf("round %d, host %d: the same: %t", round, i, same)
			}
		}
		before = now
	}
	if n := len(index.newest.clusters.byKey); n > 2*100+60 {
		t.Errorf("%d clusters are known", n)
	}
}

func TestWhatNobodyAsksForAnyMoreIsCollected(t *testing.T) {
	t.Parallel()
	places := aCrowd(5)
	index := NewIndex(Options{})
	s := index.Change(nil, places)
	rule := places[1]
	var gone []weak.Pointer[Snapshot]
	for round := range int64(50) {
		v := s.View(Workload{})
		for i := range 5 {
			v.Listener(80).MatchHTTP(fmt.Appendf(nil, "h%d.com", i))
		}
		v.Listener(9).CandidatesTCP(anyAddress)
		gone = append(gone, weak.Make(s))
		next := ruleFor(0, 2+round)
		s = index.Change([]*Resource{rule.Resource}, []Place{next})
		rule = next
	}
	runtime.GC()
	there := 0
	for _, p := range gone {
		if p.Value() != nil {
			there++
		}
	}
	if there > 1 { // the stack may have one
		t.Errorf("%d of %d snapshots are still there", there, len(gone))
	}
	runtime.KeepAlive(s)
}

func TestNamespacesThatNothingIsSaidOfShareAView(t *testing.T) {
	t.Parallel()
	in := func(namespace, host, more string) string {
		return "kind: ServiceEntry\nmetadata: {name: s, namespace: " + namespace + "}\nspec: {hosts: [" + host + "], " + onlyHTTP + more + "}"
	}
	s, _ := build(t, join3(
		in("a", "a.com", ""), in("b", "b.com", ", exportTo: ['.']"), in("c", "c.com", ", exportTo: [named]"),
		"kind: DestinationRule\nmetadata: {name: r, namespace: ruled}\nspec: {host: a.com}",
		"kind: Sidecar\nmetadata: {name: s, namespace: sidecar}\nspec: {egress: [{hosts: ['./*']}]}",
		"kind: VirtualService\nmetadata: {name: v, namespace: a}\nspec: {hosts: [a.com], http: [{match: [{sourceNamespace: matched}], route: [{destination: {host: a.com}}]}]}",
	), Options{})
	common := s.View(Workload{Namespace: "nobody"})
	for _, namespace := range []string{"a", "c", "default", "x"} {
		if s.View(Workload{Namespace: namespace}) != common {
			t.Errorf("%s has a view of its own", namespace)
		}
	}
	for _, namespace := range []string{"b", "named", "ruled", "sidecar", "matched"} {
		if s.View(Workload{Namespace: namespace}) == common {
			t.Errorf("%s has the view of all others", namespace)
		}
	}
}

var anyAddress = netip.MustParseAddr("192.0.2.1")

func TestSnapshotsAreAskedWhileOthersAreMade(t *testing.T) {
	t.Parallel()
	const hosts = 50
	index := NewIndex(Options{})
	var newest atomic.Pointer[Snapshot]
	newest.Store(index.Change(nil, aCrowd(hosts)))
	stop := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(stop)
	for w := range 4 {
		all.Go(func() {
			for n := w; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				host := fmt.Sprintf("h%d.com", n%hosts)
				v := newest.Load().View(Workload{Namespace: fmt.Sprint("n", w%2)})
				if vh := v.Listener(80).MatchHTTP([]byte(host)); vh == nil || vh.Host != host {
					t.Errorf("%s is not found", host)
					return
				}
				if v.Listener(80).MatchTLS(host, anyAddress) == nil || v.Name(host) == nil || len(v.Listener(9).CandidatesTCP(anyAddress)) != hosts {
					t.Errorf("%s is not all there", host)
					return
				}
			}
		})
	}
	there := make(map[int]*Resource)
	for round := range int64(300) {
		i := int(round*7) % hosts
		next := ruleFor(i, 2+round)
		var removed []*Resource
		if there[i] != nil {
			removed = append(removed, there[i])
		} else {
			for r := range index.placed {
				if r.Kind == DestinationRule && r.Name == next.Resource.Name {
					removed = append(removed, r)
				}
			}
		}
		newest.Store(index.Change(removed, []Place{next}))
		there[i] = next.Resource
		c := newest.Load().View(Workload{Namespace: "default"}).Listener(80).MatchHTTP([]byte(next.Resource.Name)).Routes[0].Destinations[0].Cluster
		if c.ConnectTimeout != time.Duration(2+round)*time.Second {
			t.Fatalf("round %d: %s", round, c.ConnectTimeout)
		}
	}
}
