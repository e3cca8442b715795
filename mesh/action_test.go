package mesh

import (
	"fmt"
	"strings"
	"testing"
)

// ruleOf is the first rule of a VirtualService for x.com, as a view has it.
func ruleOf(t *testing.T, rule string) *HTTPRoute {
	t.Helper()
	v := view(t, join3(entry("s", "hosts: [x.com], "+onlyHTTP), "kind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [x.com]\n  http:\n"+rule))
	return v.Listener(80).MatchHTTP([]byte("x.com")).Routes[0]
}

func TestEditsArePutTogetherInEnvoysOrder(t *testing.T) {
	t.Parallel()
	const route = "headers: {request: {set: {x-a: route, X-B: route}, add: {x-c: route, x-b: more}, remove: [x-d, x-e]}}"
	const own = "headers: {request: {set: {x-a: own, x-d: own}, add: {x-c: own, x-e: own}, remove: [x-a, x-f]}}"
	for name, tt := range map[string]struct{ rule, drops, lines string }{
		"the rule's alone": {
			"  - " + route, "x-a x-b x-d x-e",
			"x-a: route|x-b: route|x-b: more|x-c: route",
		},
		"one destination": {
			"  - " + route + "\n    route: [{destination: {host: x.com}, " + own + "}]", "x-a x-b x-d x-e x-f",
			"x-a: own|x-b: route|x-b: more|x-c: route|x-c: own|x-d: own|x-e: own",
		},
		"several destinations": {
			"  - " + route + "\n    route: [{destination: {host: x.com}, weight: 1, " + own + "}, {destination: {host: x.com}, weight: 0}]", "x-a x-b x-d x-e x-f",
			"x-a: route|x-b: route|x-b: more|x-c: own|x-c: route",
		},
		"nothing but space": {"  - headers: {request: {set: {x-a: \" \", x-b: \" b\\t\"}}}", "x-b", "x-b: b"},
		"a per cent sign":   {"  - headers: {request: {add: {x-a: \"%%a%%%%\"}}}", "", "x-a: %a%%"},
	} {
		e := ruleOf(t, tt.rule).Destinations[0].Edits.Request
		if lines := strings.ReplaceAll(strings.TrimSuffix(string(e.AppendLines(nil)), "\r\n"), "\r\n", "|"); lines != tt.lines {
			t.Errorf("%s puts %s, want %s", name, lines, tt.lines)
		}
		if drops := strings.Join(e.without, " "); drops != tt.drops {
			t.Errorf("%s drops %q, want %q", name, drops, tt.drops)
		}
	}
}

func TestTheAuthorityIsTheRewritesThenTheRulesThenTheDestinations(t *testing.T) {
	t.Parallel()
	const rewrite, route, own = "rewrite: {authority: a.com}", "headers: {request: {set: {Host: b.com}}}", "headers: {request: {add: {':authority': c.com}}}"
	to := func(more string) string { return "\n    route: [{destination: {host: x.com}" + more + "}]" }
	for rule, want := range map[string]string{
		rewrite + to(", "+own): "a.com",
		route + to(", "+own):   "b.com",
		"timeout: 1s" + to(", "+own+"}, {destination: {host: x.com}, weight: 1"): "c.com",
	} {
		rule = strings.Replace(rule, own+"}, {", own+", weight: 1}, {", 1)
		if got := ruleOf(t, "  - "+rule).Destinations[0].Edits.Authority; got != want {
			t.Errorf("%s gives %q, want %q", rule, got, want)
		}
	}
	if e := ruleOf(t, "  - timeout: 1s").Destinations[0].Edits; e != nil {
		t.Errorf("a rule without edits has %+v", e)
	}
}

func TestAnExpressionReplacesAsRE2Does(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ match, rewrite, path, want string }{
		{"^/service/([^/]+)(/.*)$", `/custom\2/\1`, "/service/update/v1/api", "/custom/v1/api/update"}, // Istio's own example
		{"(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"},                                         // and its second
		{"a", `\0\0`, "/banana?a=a", "/baanaanaa?a=a"},
		{"x*", "-", "/axb", "/-/-a-b-"},
		{"(a)|(b)", `<\1\2>`, "/ab", "/<a><b>"},
		{"/", `\\`, "/a/b", `/\a\b`},
		{"b", "x", "/a?b", "/a?b"},
		{"^/a$|(z)", `\1`, "/a?q", "/a?q"}, // nothing would be left
	} {
		route := ruleOf(t, "  - rewrite: {uriRegexRewrite: {match: '"+tt.match+"', rewrite: '"+tt.rewrite+"'}}")
		if got := string(route.Action.Path.Append([]byte("before "), tt.path, nil)); got != "before "+tt.want {
			t.Errorf("%q to %q: %q becomes %q, want %q", tt.match, tt.rewrite, tt.path, got, tt.want)
		}
	}
}

// Whatever one parser could take for the end of a message, and another not, is not a
// rule's to write.
func TestNoRuleFramesAMessage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Content-Length", "transfer-encoding", "Connection", "keep-alive", "Proxy-Connection", "TE", "trailer", "Upgrade", "expect",
		":method", ":path", ":status", ":scheme", "x y", "x:", "",
	} {
		for _, operations := range []string{"set: {%q: v}", "add: {%q: v}", "remove: [%q]"} {
			for _, head := range []string{"request", "response"} {
				for _, where := range []string{"headers: {%s: {%s}}", "route: [{destination: {host: x.com}, headers: {%s: {%s}}}]"} {
					rule := fmt.Sprintf(where, head, fmt.Sprintf(operations, name))
					_, issues := Decode("v.yaml", []byte("kind: VirtualService\napiVersion: networking.istio.io/v1\nmetadata: {name: v}\nspec: {hosts: [x.com], http: [{"+rule+"}]}"), DecodeOptions{})
					if !issues.HasErrors() {
						t.Errorf("{%s} is accepted: %s", rule, issues)
					}
				}
			}
		}
	}
	for _, value := range []string{"a\\r\\nb: c", "a\\nb", "a\\0b", "%REQ(x)%", "50%"} {
		for _, operation := range []string{"set", "add"} {
			_, issues := Decode("v.yaml", []byte("kind: VirtualService\napiVersion: networking.istio.io/v1\nmetadata: {name: v}\nspec: {hosts: [x.com], http: [{headers: {request: {"+operation+": {x: \""+value+"\"}}}}]}"), DecodeOptions{})
			if !issues.HasErrors() {
				t.Errorf("%s %q is accepted", operation, value)
			}
		}
	}
}

func TestActionsSayWhatTheyDo(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"directResponse: {status: 418, body: {string: short}}":                                                "answers 418 with 5 bytes",
		"redirect: {scheme: https, authority: y.com, port: 8443, uri: /x}":                                    "redirects with 301 to scheme https, authority y.com, path /x, port 8443",
		"redirect: {derivePort: FROM_REQUEST_PORT, prefixRewrite: /x}":                                        "redirects with 301 to the request's port, prefix /x",
		"rewrite: {uri: /x, authority: y.com}":                                                                "changes the path's prefix to /x; sends the host y.com",
		`rewrite: {uriRegexRewrite: {match: a(.)c, rewrite: 'b\0\1\\'}}`:                                      `changes the path: a(.)c becomes b\0\1\\`,
		"fault: {delay: {fixedDelay: 2s, percent: 5}, abort: {httpStatus: 500, percentage: {value: 0.0001}}}": "holds 5% back for 2s; aborts 0.0001% with 500",
		"fault: {abort: {grpcStatus: NOT_FOUND}}":                                                             "aborts 100% with the gRPC status NOT_FOUND",
		"fault: {delay: {fixedDelay: 2s, percent: 0}}":                                                        "",
		"fault: {delay: {fixedDelay: 2s}}":                                                                    "holds 100% back for 2s",
		"fault: {abort: {httpStatus: 500, percentage: {value: 0}}}":                                           "",
		"fault: {delay: {fixedDelay: 2s, percent: 5, percentage: {value: 33.3}}}":                             "holds 33.3% back for 2s",
		"headers: {request: {set: {authorization: secret}, remove: [X-A, x-b]}}":                              "sets authorization in the request; removes x-a, x-b from the request",
		"{timeout: 1s, headers: {response: {add: {x-a: a}, remove: [set-cookie]}}}":                           "timeout 1s; adds x-a to the response; removes set-cookie from the response",
	} {
		if got := strings.Join(ruleOf(t, "  - "+rule).Action.Says(), "; "); got != want {
			t.Errorf("%s: %s, want %s", rule, got, want)
		}
	}
}

func TestLocationsAreMadeAsEnvoyMakesThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ redirect, asked, want string }{
		{"uri: /new", "x.com/a/b?q=1", "http://x.com/new?q=1"},
		{"uri: '/new?p=2'", "x.com/a?q=1", "http://x.com/new?p=2"},
		{"uri: new", "x.com/a", "http://x.com/new"},
		{"authority: y.com", "x.com:8080/a?q=1", "http://y.com/a?q=1"},
		{"scheme: https", "x.com/a", "https://x.com/a"},
		{"scheme: https", "x.com:80/a", "https://x.com/a"},
		{"scheme: https", "x.com:8080/a", "https://x.com:8080/a"},
		{"scheme: http", "x.com:80/a", "http://x.com:80/a"},
		{"port: 8443", "x.com:80/a", "http://x.com:8443/a"},
		{"port: 80", "x.com:8080/a", "http://x.com:8080/a"}, // as with no port at all
		{"port: 443, scheme: https", "x.com/a", "https://x.com/a"},
		{"port: 443", "x.com/a", "http://x.com:443/a"},
		{"port: 8443, authority: y.com", "x.com:80/a", "http://y.com:8443/a"},
		{"derivePort: FROM_REQUEST_PORT, scheme: https", "x.com/a", "https://x.com:80/a"},
		{"derivePort: FROM_REQUEST_PORT", "x.com/a", "http://x.com/a"},
		{"derivePort: FROM_PROTOCOL_DEFAULT, scheme: https", "x.com/a", "https://x.com/a"},
		{"port: 8080, scheme: https", "[fd00::1]:80/a", "https://[fd00::1]:8080/a"},
		{"scheme: https", "[fd00::80]/a", "https://[fd00::80]/a"},
		{"prefixRewrite: /new", "x.com/old/a?q=1", "http://x.com/new/a?q=1"},
		{"prefixRewrite: /", "x.com/old/a", "http://x.com//a"},
	} {
		match := ""
		if strings.HasPrefix(tt.redirect, "prefix") {
			match = ", match: [{uri: {prefix: /old}}]"
		}
		route := ruleOf(t, "  - {redirect: {"+tt.redirect+"}"+match+"}")
		var condition *HTTPMatch
		if match != "" {
			condition = &route.Match[0]
		}
		i := strings.IndexByte(tt.asked, '/')
		r := request{authority: tt.asked[:i], path: tt.asked[i:]}
		if got := route.Action.Answer.To.Location(r, condition, 80); got != tt.want {
			t.Errorf("{%s}: %s goes to %s, want %s", tt.redirect, tt.asked, got, tt.want)
		}
		if len(route.Destinations) != 0 || route.Action.Answer.Status != 301 {
			t.Errorf("{%s}: %+v", tt.redirect, route)
		}
	}
}
