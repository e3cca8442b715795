package mesh

import (
	"fmt"
	"testing"
	"time"
)

// What services declare on a port is derived where connections are accepted, and each
// namespace may have a Sidecar with tens of thousands of hosts.
func TestASidecarWithManyHostsIsAsQuickAsOneWithFew(t *testing.T) {
	const hosts, few, more = 2000, 500, 32
	entries := ""
	for i := range hosts / 100 {
		entries += fmt.Sprintf(`{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e%d}, spec: {resolution: DNS, hosts: [`, i) +
			repeated(100, fmt.Sprintf("h%%d.e%d.com", i)) + `], ports: [{number: 80, name: http, protocol: HTTP}]}}` + "\n---\n"
	}
	took := func(imports int) time.Duration {
		resources, issues := Decode("a.yaml", []byte(entries+
			`{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: s}, spec: {egress: [{hosts: [`+repeated(imports, "./x%d.com")+`]}]}}`), DecodeOptions{})
		if issues.HasErrors() {
			t.Fatal(issues[0])
		}
		least := time.Hour
		for range 3 {
			s, _ := Build(resources, Options{})
			began := processorTime(t)
			if l := s.View(Workload{Namespace: "default"}).Listener(80); l != nil {
				t.Fatal("a port of what is not imported")
			}
			least = min(least, processorTime(t)-began)
		}
		return least
	}
	if small, large := took(few), took(more*few); large > 8*small+5*time.Millisecond {
		t.Errorf("with %d hosts it takes %v, with %d times as many %v", few, small, more, large)
	}
}
