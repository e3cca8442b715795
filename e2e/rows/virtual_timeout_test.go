package rows

import (
	"net/http"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestVirtualServiceTimeout(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.timeout", func(p *egress.Pod) {
		p.Net.Web("slow.test", 80, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
			}
		}))
		p.Apply(web("slow.test") + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: slow}
spec:
  hosts: [slow.test]
  http:
  - timeout: 200ms
    route: [{destination: {host: slow.test}}]
`)
		for _, v := range egress.Versions {
			p.Ask(egress.Request{URL: "http://slow.test/", Version: v}).Want("200 slow.test").WantLine("-", "outbound|80||slow.test")
			p.Ask(egress.Request{URL: "http://slow.test/slow", Version: v}).Want("504 UT upstream request timeout")
		}
	})
}
