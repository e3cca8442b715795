package rows

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// Rules of one VirtualService, in order; the first that fits has the request.
var matches = []struct{ host, match string }{
	{"uri-exact", `[{uri: {exact: /exact}}]`},
	{"uri-prefix", `[{uri: {prefix: /prefix}}]`},
	{"uri-regex", `[{uri: {regex: "/r[0-9]+"}}]`},
	{"uri-case", `[{uri: {prefix: /case}, ignoreUriCase: true}]`},
	{"method", `[{method: {exact: PUT}}]`},
	{"authority", `[{authority: {regex: "other[.]test(:80)?"}}]`},
	{"header", `[{headers: {x-kind: {exact: blue}}}]`},
	{"header-there", `[{headers: {x-there: {}}}]`},
	{"header-prefix", `[{headers: {X-Kind: {prefix: re}}}]`},
	{"without", `[{uri: {exact: /without}, withoutHeaders: {x-not: {exact: here}}}]`},
	{"query", `[{queryParams: {v: {exact: "2"}}}]`},
	{"query-regex", `[{queryParams: {n: {regex: "[0-9]+"}}}]`},
	{"and", `[{uri: {prefix: /and}, method: {exact: POST}, headers: {x-and: {exact: "1"}}}]`},
	{"or", `[{uri: {exact: /or1}}, {uri: {exact: /or2}}]`},
	{"port", `[{port: 8080}]`},
	{"scheme", `[{uri: {prefix: /scheme}, scheme: {exact: http}}]`},
	{"no-scheme", `[{uri: {prefix: /noscheme}, scheme: {exact: https}}]`},
}

func TestVirtualServiceMatch(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.match", func(p *egress.Pod) {
		const ports = `resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: more, protocol: HTTP}]`
		var resources strings.Builder
		rules := "\n  hosts: [own.test, other.test]\n  http:"
		for _, m := range matches {
			host := m.host + ".to.test"
			p.Net.Web(host, 80, nil)
			resources.WriteString(web(host))
			rules += "\n  - match: " + m.match + "\n    route: [{destination: {host: " + host + "}}]"
		}
		rules += "\n  - match: [{uri: {prefix: /known}}]\n    route: [{destination: {host: own.test}}]"
		for _, host := range []string{"own.test", "other.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.Web(host, 8080, nil)
		}
		resources.WriteString(object("ServiceEntry", "own", `{hosts: [own.test, other.test], `+ports+`}`))
		if issues := p.Apply(resources.String() + object("VirtualService", "v", rules)); len(issues) != 0 {
			p.T.Errorf("%s", issues)
		}
		for _, c := range []struct {
			ask  egress.Request // of the path below http://own.test, unless it is a URL
			want string         // the host of matches, "" for nobody
		}{
			{egress.Request{URL: "/exact"}, "uri-exact"},
			{egress.Request{URL: "/exact?with=query"}, "uri-exact"}, // the query is no part of the path
			{egress.Request{URL: "/exact/"}, ""},
			{egress.Request{URL: "/EXACT"}, ""},
			{egress.Request{URL: "/prefix"}, "uri-prefix"},
			{egress.Request{URL: "/prefixes/1"}, "uri-prefix"}, // a prefix of characters, not of segments
			{egress.Request{URL: "/r1"}, "uri-regex"},
			{egress.Request{URL: "/r1x"}, ""}, // the whole path
			{egress.Request{URL: "/CaSe/x"}, "uri-case"},
			{egress.Request{URL: "/known", Method: "PUT"}, "method"},
			{egress.Request{URL: "http://other.test/known"}, "authority"},
			{egress.Request{URL: "/known", Header: map[string]string{"X-Kind": "blue"}}, "header"},
			{egress.Request{URL: "/known", Header: map[string]string{"X-Kind": "Blue"}}, "own"},
			{egress.Request{URL: "/known", Header: map[string]string{"x-there": "anything"}}, "header-there"},
			{egress.Request{URL: "/known", Header: map[string]string{"x-kind": "red"}}, "header-prefix"},
			{egress.Request{URL: "/without"}, "without"},
			{egress.Request{URL: "/without", Header: map[string]string{"x-not": "there"}}, "without"},
			{egress.Request{URL: "/without", Header: map[string]string{"x-not": "here"}}, ""},
			{egress.Request{URL: "/known?a=1&v=2"}, "query"},
			{egress.Request{URL: "/known?v=21"}, "own"},
			{egress.Request{URL: "/known?n=42"}, "query-regex"},
			{egress.Request{URL: "/known?n=x42"}, "own"},
			{egress.Request{URL: "/and", Method: "POST", Header: map[string]string{"x-and": "1"}}, "and"},
			{egress.Request{URL: "/and", Method: "POST"}, ""},
			{egress.Request{URL: "/and", Header: map[string]string{"x-and": "1"}}, ""},
			{egress.Request{URL: "/or1"}, "or"},
			{egress.Request{URL: "/or2"}, "or"},
			{egress.Request{URL: "http://own.test:8080/known"}, "port"},
			{egress.Request{URL: "/scheme"}, "scheme"},
			{egress.Request{URL: "/noscheme"}, ""},
			{egress.Request{URL: "/prefix", Method: "PUT"}, "uri-prefix"}, // the first rule
			{egress.Request{URL: "/known"}, "own"},
			{egress.Request{URL: "/"}, ""},
		} {
			for _, v := range egress.Versions {
				q := c.ask
				if q.Version = v; strings.HasPrefix(q.URL, "/") {
					q.URL = "http://own.test" + q.URL
				}
				switch c.want {
				case "":
					p.Ask(q).Want("404 NR")
				case "own":
					p.Ask(q).Want("200 own.test")
				default:
					p.Ask(q).Want("200 " + c.want + ".to.test")
				}
			}
		}
		for what, wrong := range map[string]string{
			"an empty prefix": `{headers: {x-a: {prefix: ""}}}`, "an empty regex": `{uri: {regex: ""}}`, "a bad regex": `{uri: {regex: "("}}`,
			"a claim": `{headers: {"@request.auth.claims.x": {exact: a}}}`,
		} {
			if issues := p.Offer(object("VirtualService", "w", `{hosts: [own.test], http: [{match: [`+wrong+`], route: [{destination: {host: own.test}}]}]}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
	row(t, "VS.http.name", func(p *egress.Pod) {
		p.Net.Web("own.test", 80, nil)
		p.Apply(web("own.test") + object("VirtualService", "v", `
  hosts: [own.test]
  http:
  - name: reading
    match: [{uri: {exact: /bare}}, {name: all, method: {exact: GET}}]
    route: [{destination: {host: own.test}}]
  - route: [{destination: {host: own.test}}]`))
		for _, v := range egress.Versions {
			for _, c := range []struct{ path, method, route string }{{"/", "GET", "reading.all"}, {"/bare", "GET", "reading"}, {"/", "POST", ""}} {
				if l := p.Ask(egress.Request{URL: "http://own.test" + c.path, Method: c.method, Version: v}).Line(); l.Route != c.route {
					p.T.Errorf("%s: want the route %q: %s", v, c.route, l.Text)
				}
			}
		}
	})
}
