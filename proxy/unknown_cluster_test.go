package proxy_test

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

func TestARouteThatLeadsNowhereIsToldInTheLog(t *testing.T) {
	t.Parallel()
	for destination, want := range map[string]string{
		"{host: www.test, subset: v2}":         "add subset v2 to a DestinationRule for www.test, and register that on port 80",
		"{host: gone.test}":                    "register gone.test on port 80 with a ServiceEntry",
		"{host: www.test, port: {number: 81}}": "register www.test on port 81 with a ServiceEntry",
	} {
		r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 80, "192.0.2.1:80")+`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec: {hosts: [www.test], http: [{route: [{destination: `+destination+`}]}]}
`)
		r.to("203.0.113.1:80")
		if resp, _ := r.get("http://www.test/"); resp.StatusCode != 503 {
			t.Errorf("%s: %d", destination, resp.StatusCode)
		}
		r.finish()
		if log := r.log.String(); !strings.Contains(log, "the route leads to what nobody registers") || !strings.Contains(log, want) {
			t.Errorf("%s: %s\nwant %s", destination, log, want)
		}
	}
}
