package rows

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

func TestVirtualServiceMatchSource(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		workload mesh.Workload
		server   string
	}{
		{mesh.Workload{Labels: map[string]string{"app": "shop", "tier": "front"}}, "labels.test"},
		{mesh.Workload{Namespace: "testing"}, "namespace.test"},
		{mesh.Workload{Labels: map[string]string{"app": "shop"}}, "old.test"},
	} {
		rowWith(t, "VS.match.source", egress.Options{Workload: tt.workload}, func(p *egress.Pod) {
			for _, host := range []string{"old.test", "labels.test", "namespace.test"} {
				p.Net.Web(host, 80, nil)
				p.Net.WebTLS(host, 443, nil)
			}
			p.Net.WebTLS("old.test", 9000, nil)
			p.Apply(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all}
spec:
  hosts: [old.test, labels.test, namespace.test]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: opaque}
spec:
  hosts: [opaque.test]
  addresses: ['{{v4 "old.test"}}']
  ports: [{number: 9000, name: tcp, protocol: TCP}]
  resolution: DNS
  endpoints: [{address: old.test}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: sources}
spec:
  hosts: [old.test, opaque.test]
  http:
  - match: [{sourceLabels: {app: shop, tier: front}}]
    route: [{destination: {host: labels.test}}]
  - match: [{sourceNamespace: testing}]
    route: [{destination: {host: namespace.test}}]
  tls:
  - match: [{sniHosts: [old.test], sourceLabels: {app: shop, tier: front}}]
    route: [{destination: {host: labels.test}}]
  - match: [{sniHosts: [old.test], sourceNamespace: testing}]
    route: [{destination: {host: namespace.test}}]
  tcp:
  - match: [{sourceLabels: {app: shop, tier: front}}]
    route: [{destination: {host: labels.test, port: {number: 443}}}]
  - match: [{sourceNamespace: testing}]
    route: [{destination: {host: namespace.test, port: {number: 443}}}]
`)
			for _, v := range egress.Versions {
				p.Ask(egress.Request{URL: "http://old.test/", Version: v}).Want("200 " + tt.server)
			}
			p.Handshake("old.test:443", "old.test").Want(tt.server)
			p.Handshake("old.test:9000", "").Want(tt.server) // opaque: the port is TCP's
		})
	}
}
