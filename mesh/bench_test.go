package mesh

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// crowd writes n of each kind, as people would have them.
func crowd(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: host-%[1]d
spec:
  hosts:
  - host-%[1]d.example.com
  ports:
  - number: 443
    name: https
    protocol: HTTP
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: host-%[1]d
spec:
  hosts:
  - host-%[1]d.example.com
  http:
  - match:
    - uri:
        prefix: /slow
    route:
    - destination:
        host: host-%[1]d.example.com
    timeout: 30s
  - route:
    - destination:
        host: host-%[1]d.example.com
    timeout: 3s
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: host-%[1]d
spec:
  host: host-%[1]d.example.com
  trafficPolicy:
    tls:
      mode: SIMPLE
`, i)
	}
	return b.Bytes()
}

func decodeAll(tb testing.TB, data []byte) []*Resource {
	tb.Helper()
	resources, issues := Decode("crowd.yaml", data, DecodeOptions{})
	if len(issues) > 0 {
		tb.Fatal(issues[:min(len(issues), 5)])
	}
	return resources
}

func BenchmarkDecode30000(b *testing.B) {
	data := crowd(10_000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		decodeAll(b, data)
	}
}

func BenchmarkBuild30000(b *testing.B) {
	resources := decodeAll(b, crowd(10_000))
	for b.Loop() {
		if _, issues := Build(resources, Options{}); len(issues) > 0 {
			b.Fatal(issues[0])
		}
	}
}

// BenchmarkRebuildAfterOneChange is Build and one view after one resource of
// 30 000 was replaced.
func BenchmarkRebuildAfterOneChange(b *testing.B) {
	resources := decodeAll(b, crowd(10_000))
	one := decodeAll(b, crowd(1))[1]
	Build(resources, Options{})
	for b.Loop() {
		resources[1] = &Resource{APIVersion: one.APIVersion, Kind: one.Kind, Namespace: one.Namespace, Name: one.Name, Spec: one.Spec, Source: one.Source}
		s, _ := Build(resources, Options{})
		s.View(Workload{})
	}
}

func BenchmarkView30000(b *testing.B) {
	resources := decodeAll(b, crowd(10_000))
	for b.Loop() {
		b.StopTimer()
		s, _ := Build(resources, Options{})
		b.StartTimer()
		s.View(Workload{})
	}
}

func BenchmarkMatchHTTPAmong10000(b *testing.B) {
	s, _ := Build(decodeAll(b, crowd(10_000)), Options{})
	l := s.View(Workload{}).Listener(443)
	host := []byte("host-7777.example.com")
	b.ReportAllocs()
	for b.Loop() {
		if l.MatchHTTP(host) == nil {
			b.Fatal("not found")
		}
	}
}

// BenchmarkMemoryPerResource reports what a resource and its share of a view keep.
func BenchmarkMemoryPerResource(b *testing.B) {
	data := crowd(10_000)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s, _ := Build(decodeAll(b, data), Options{})
		v := s.View(Workload{})
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/30_000, "B/resource")
		runtime.KeepAlive(v)
		runtime.KeepAlive(s)
	}
}
