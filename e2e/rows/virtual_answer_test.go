package rows

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestVirtualServiceRedirect(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.redirect", func(p *egress.Pod) {
		p.Net.Web("old.test", 80, nil)
		p.Apply(web("old.test") + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old}
spec:
  hosts: [old.test]
  http:
  - {name: path, match: [{uri: {exact: /path}}], redirect: {uri: /other}}
  - {name: prefix, match: [{uri: {prefix: /v1/}}], redirect: {prefixRewrite: /v2/, redirectCode: 307}}
  - {name: secure, match: [{uri: {prefix: /secure}}], redirect: {scheme: https, port: 8443, redirectCode: 302}}
  - {name: here, match: [{uri: {prefix: /here}}], redirect: {scheme: https, derivePort: FROM_REQUEST_PORT, redirectCode: 303}}
  - {name: usual, match: [{uri: {prefix: /usual}}], redirect: {scheme: https, derivePort: FROM_PROTOCOL_DEFAULT, redirectCode: 308}}
  - {name: host, redirect: {authority: new.test}}
`)
		for _, v := range egress.Versions {
			for path, want := range map[string][3]string{
				"/path?q":  {"301 -", "http://old.test/other?q", "path"},
				"/v1/a?q":  {"307 -", "http://old.test/v2/a?q", "prefix"},
				"/secure":  {"302 -", "https://old.test:8443/secure", "secure"},
				"/here":    {"303 -", "https://old.test:80/here", "here"},
				"/usual":   {"308 -", "https://old.test/usual", "usual"},
				"/any/way": {"301 -", "http://new.test/any/way", "host"},
			} {
				a := p.Ask(egress.Request{URL: "http://old.test" + path, Version: v}).Want(want[0]).WantLine("-", "")
				if l := a.Line(); a.Header.Get("Location") != want[1] || l.Route != want[2] || l.Details != "direct_response" {
					p.T.Errorf("%s %s: %v\n%s", v, path, a.Header, l.Text)
				}
			}
		}
		if seen := p.Net.Seen("old.test"); len(seen) > 0 {
			p.T.Errorf("the server saw %v", seen)
		}
	})
}

func TestVirtualServiceDirectResponse(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.directResponse", func(p *egress.Pod) {
		p.Net.Web("shut.test", 80, nil)
		p.Apply(web("shut.test") + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shut}
spec:
  hosts: [shut.test]
  http:
  - {match: [{uri: {prefix: /json}}], directResponse: {status: 200, body: {bytes: eyJhIjogMX0=}}, headers: {response: {set: {content-type: application/json}}}}
  - {match: [{uri: {prefix: /nothing}}], directResponse: {status: 204}}
  - {directResponse: {status: 503, body: {string: back at nine}}}
`)
		for _, v := range egress.Versions {
			for path, want := range map[string][2]string{
				"/json": {`200 - {"a": 1}`, "application/json"}, "/nothing": {"204 -", ""}, "/": {"503 - back at nine", "text/plain"},
			} {
				a := p.Ask(egress.Request{URL: "http://shut.test" + path, Version: v}).Want(want[0]).WantLine("-", "")
				if got := a.Header.Get("Content-Type"); got != want[1] {
					p.T.Errorf("%s %s: content type %q", v, path, got)
				}
			}
		}
		if seen := p.Net.Seen("shut.test"); len(seen) > 0 {
			p.T.Errorf("the server saw %v", seen)
		}
	})
}
