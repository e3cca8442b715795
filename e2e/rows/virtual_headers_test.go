package rows

import (
	"net/http"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestVirtualServiceHeaders(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.headers", func(p *egress.Pod) {
		p.Net.Web("a.test", 80, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Secret", "s")
			w.Header().Set("X-Version", "1")
		}))
		p.Apply(web("a.test") + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http:
  - headers:
      request: {set: {x-user: rule, x-both: rule}, add: {x-more: rule}, remove: [x-gone]}
      response: {set: {x-version: "100%%"}, add: {x-from: rule}, remove: [X-Secret, x-envoy-upstream-service-time]}
    route:
    - destination: {host: a.test}
      headers: {request: {set: {Host: inner.test, x-both: destination}, add: {x-more: destination}}, response: {add: {x-from: destination}}}
`)
		for _, v := range egress.Versions {
			mine := map[string]string{"X-User": "me", "X-Both": "me", "X-More": "me", "X-Gone": "me", "X-Kept": "me"}
			a := p.Ask(egress.Request{URL: "http://a.test/", Version: v, Header: mine}).Want("200 a.test").WantLine("-", "outbound|80||a.test")
			for name, want := range map[string][]string{
				"X-User": {"rule"}, "X-Both": {"destination"}, "X-More": {"me", "rule", "destination"}, "X-Gone": nil, "X-Kept": {"me"},
			} {
				if got := a.Server.Header[name]; !slices.Equal(got, want) || a.Server.Host != "inner.test" {
					p.T.Errorf("%s: the server of %s sees %s %q, want %q", v, a.Server.Host, name, got, want)
				}
			}
			for name, want := range map[string][]string{
				"X-Version": {"100%"}, "X-From": {"rule", "destination"}, "X-Secret": nil, "X-Envoy-Upstream-Service-Time": nil, "Server": {"envoy"},
			} {
				if got := a.Header[name]; !slices.Equal(got, want) {
					p.T.Errorf("%s: the application sees %s %q, want %q", v, name, got, want)
				}
			}
		}
	})
}
