package mesh

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/sluice-cni/sluice/internal/crowd"
)

func decodeAll(tb testing.TB, data []byte) []*Resource {
	tb.Helper()
	resources, issues := Decode("crowd.yaml", data, DecodeOptions{})
	if issues.HasErrors() {
		tb.Fatal(issues.Err())
	}
	return resources
}

func BenchmarkDecode30000(b *testing.B) {
	for name, of := range map[string]func(int) []byte{"small": crowd.Small, "realistic": crowd.Realistic} {
		b.Run(name, func(b *testing.B) {
			data := crowd.Stream(10_000, of)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				decodeAll(b, data)
			}
		})
	}
}

func BenchmarkBuild30000(b *testing.B) {
	resources := decodeAll(b, crowd.Stream(10_000, crowd.Small))
	for b.Loop() {
		if _, issues := Build(resources, Options{}); len(issues) > 0 {
			b.Fatal(issues[0])
		}
	}
}

// BenchmarkChange is one resource of 30 000 replaced, and another host's routes found in
// the new view.
func BenchmarkChange(b *testing.B) {
	resources := decodeAll(b, crowd.Stream(10_000, crowd.Small))
	places := make([]Place, len(resources))
	for i, r := range resources {
		places[i] = Place{Resource: r, Position: i}
	}
	index := NewIndex(Options{})
	index.Change(nil, places)
	others := [2]*Resource{decodeAll(b, crowd.Small(7))[1], decodeAll(b, crowd.Small(7))[1]}
	there := resources[7*3+1]
	host := []byte("host-7777.example.com")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		next := others[n%2]
		s := index.Change([]*Resource{there}, []Place{{Resource: next, Position: 7*3 + 1}})
		there = next
		if s.View(Workload{}).Listener(443).MatchHTTP(host) == nil {
			b.Fatal("not found")
		}
	}
}

// BenchmarkCheck30000 is the look at all resources together.
func BenchmarkCheck30000(b *testing.B) {
	s, _ := Assemble(decodeAll(b, crowd.Stream(10_000, crowd.Small)), Options{})
	for b.Loop() {
		s.Check()
	}
}

// BenchmarkWildcardRules is that where every second resource is a rule for a wildcard.
func BenchmarkWildcardRules(b *testing.B) {
	var text bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&text, "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s%[1]d}\nspec: {hosts: [a.h%[1]d.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}\n", i)
		fmt.Fprintf(&text, "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r%[1]d}\nspec: {host: '*.h%[1]d.example.com', trafficPolicy: {tls: {mode: SIMPLE, sni: x.com}}}\n", i)
	}
	s, _ := Assemble(decodeAll(b, text.Bytes()), Options{})
	for b.Loop() {
		s.Check()
	}
}

// BenchmarkUnregisteredHosts is a first request where VirtualServices route 2 000 hosts
// that nobody registers and 500 ports speak HTTP.
func BenchmarkUnregisteredHosts(b *testing.B) {
	var text bytes.Buffer
	for i := range 2_000 {
		fmt.Fprintf(&text, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v%[1]d}\nspec: {hosts: [h%[1]d.example.org], http: [{route: [{destination: {host: a.example.com}}]}]}\n", i)
	}
	for i := range 500 {
		fmt.Fprintf(&text, "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s%[1]d}\nspec: {hosts: [a.example.com], ports: [{number: %[2]d, name: http, protocol: HTTP}], resolution: DNS}\n", i, 1000+i)
	}
	resources := decodeAll(b, text.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s, _ := Assemble(resources, Options{})
		b.StartTimer()
		for port := range uint16(500) {
			if s.View(Workload{}).Listener(1000+port).MatchHTTP([]byte("h7.example.org")) == nil {
				b.Fatal("not found")
			}
		}
	}
}

// BenchmarkView30000 is a view of which every host is asked for once.
func BenchmarkView30000(b *testing.B) {
	resources := decodeAll(b, crowd.Stream(10_000, crowd.Small))
	for b.Loop() {
		b.StopTimer()
		s, _ := Build(resources, Options{})
		b.StartTimer()
		l := s.View(Workload{}).Listener(443)
		for i := range 10_000 {
			l.MatchHTTP(fmt.Appendf(nil, "host-%d.example.com", i))
		}
	}
}

func BenchmarkMatchHTTPAmong10000(b *testing.B) {
	s, _ := Build(decodeAll(b, crowd.Stream(10_000, crowd.Small)), Options{})
	l := s.View(Workload{}).Listener(443)
	host := []byte("host-7777.example.com")
	b.ReportAllocs()
	for b.Loop() {
		if l.MatchHTTP(host) == nil {
			b.Fatal("not found")
		}
	}
}

// BenchmarkMemoryPerResource reports what a resource keeps, with its share of what was
// derived for those who asked.
func BenchmarkMemoryPerResource(b *testing.B) {
	const bar = 10 << 10
	for _, of := range []struct {
		name  string
		of    func(int) []byte
		host  string
		views int // namespaces
		hosts int // that each asks for
	}{
		{"small", crowd.Small, "host-%d.example.com", 1, 10_000},
		{"realistic", crowd.Realistic, "api-%d.shop.example.com", 1, 10_000},
		{"realistic, 50 namespaces", crowd.Realistic, "api-%d.shop.example.com", 50, 500},
	} {
		b.Run(of.name, func(b *testing.B) {
			data := crowd.Stream(10_000, of.of)
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				s, _ := Build(decodeAll(b, data), Options{})
				var views []*View
				for n := range of.views {
					v := s.View(Workload{Namespace: fmt.Sprint("team-", n)})
					views = append(views, v)
					for i := range of.hosts {
						v.Listener(v.Ports()[0]).MatchHTTP(fmt.Appendf(nil, of.host, i))
					}
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				each := float64(after.HeapAlloc-before.HeapAlloc) / 30_000
				if b.ReportMetric(each, "B/resource"); each > bar {
					b.Errorf("%.0f bytes for a resource, the bar is %d", each, bar)
				}
				runtime.KeepAlive(views)
				runtime.KeepAlive(s)
			}
		})
	}
}
