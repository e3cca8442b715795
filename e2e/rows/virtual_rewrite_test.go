package rows

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestVirtualServiceRewrite(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.rewrite", func(p *egress.Pod) {
		p.Net.Web("old.test", 80, nil)
		p.Apply(web("old.test") + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old}
spec:
  hosts: [old.test]
  http:
  - match: [{uri: {prefix: /api/}}]
    rewrite: {uri: /v2/, authority: "new.test:8080"}
    route: [{destination: {host: old.test}}]
  - match: [{uri: {exact: /exact}}]
    rewrite: {uri: /whole}
    route: [{destination: {host: old.test}}]
  - rewrite: {uriRegexRewrite: {match: "^/shop/([^/]+)/([^/]+)", rewrite: '/\2/\1'}}
    route: [{destination: {host: old.test}}]
`)
		for _, v := range egress.Versions {
			for asked, want := range map[string][2]string{
				"/api/x?q=/api/": {"/v2/x?q=/api/", "new.test:8080"},
				"/exact?q":       {"/whole?q", "old.test"},
				"/shop/a/b/c":    {"/b/a/c", "old.test"},
				"/other":         {"/other", "old.test"},
			} {
				a := p.Ask(egress.Request{URL: "http://old.test" + asked, Version: v}).Want("200 old.test")
				if a.Server.Path != want[0] || a.Server.Host != want[1] {
					p.T.Errorf("%s: %s comes as %s to %s, want %v", v, asked, a.Server.Path, a.Server.Host, want)
				}
				if l := a.WantLine("-", "outbound|80||old.test").Line(); l.Path != asked || l.Authority != "old.test" {
					p.T.Errorf("%s: the access log has %s %s", v, l.Authority, l.Path)
				}
			}
		}
	})
}
