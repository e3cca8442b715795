package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
)

// TestWhatNobodyRegistersGoesToTheEgressProxy asks often enough to be in a lane.
func TestWhatNobodyRegistersGoesToTheEgressProxy(t *testing.T) {
	t.Parallel()
	const sidecar = `
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s}
spec: {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.example.com, port: {number: 80}}}}
`
	inModes(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "for "+r.Host) }, sidecar, func(t *testing.T, m mode, r *rig, c *http.Client) {
		for _, dst := range []string{"203.0.113.1:80", "203.0.113.1:8080"} { // the port is somebody's, or nobody's
			r.to(dst)
			for range 5 {
				req, err := http.NewRequest("GET", "http://strange.test/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if resp, body := fetch(t, c, req); resp.StatusCode != 200 || body != "for strange.test" {
					t.Errorf("to %s: %d %q", dst, resp.StatusCode, body)
				}
			}
		}
		await.True(t, "the cluster and the route are logged", func() bool {
			text := r.access.String()
			return strings.Contains(text, `"upstream_cluster":"outbound|80||a.example.com"`) && strings.Contains(text, `"route_name":"allow_any"`)
		})
	})
}
