package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// rules is a VirtualService for a.example.com.
func rules(http string) string {
	return "\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: rules}\nspec:\n  hosts: [a.example.com]\n  http:\n" + http
}

// whatCame answers with what a server is told: the request's line, its host and the
// fields that begin with X.
func whatCame(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Up", "upstream")
	w.Header().Set("X-Secret", "secret")
	w.Header().Set("Server", "theirs")
	fmt.Fprintf(w, "%s %s host=%s", r.Method, r.RequestURI, r.Host)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range r.Header {
			if strings.HasPrefix(name, "X-") && !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintf(w, " %s=%q", name, r.Header[name])
	}
}

func TestHeadsAreEditedInEveryPairOfProtocols(t *testing.T) {
	t.Parallel()
	const one = `
  - headers:
      request: {set: {X-Set: route, x-both: route}, add: {x-add: route}, remove: [X-Gone]}
      response: {set: {x-up: route, x-percent: "100%%"}, add: {x-more: route}, remove: [x-secret, x-envoy-upstream-service-time]}
    route:
    - destination: {host: a.example.com}
      headers: {request: {set: {x-both: destination, host: "inner.example.com:8080"}, add: {x-add: destination}}}
`
	inModes(t, whatCame, rules(one), func(t *testing.T, m mode, r *rig, c *http.Client) {
		for range 3 { // a lane has the later ones
			req := getRequest(t, "http://a.example.com/x?q=1")
			req.Header = http.Header{"X-Set": {"mine", "twice"}, "X-Both": {"mine"}, "X-Add": {"mine"}, "X-Gone": {"mine"}, "X-Kept": {"mine"}}
			resp, body := fetch(t, c, req)
			want := `GET /x?q=1 host=inner.example.com:8080 X-Add=["mine" "route" "destination"] X-Both=["destination"] X-Kept=["mine"] X-Set=["route"]`
			if body != want {
				t.Errorf("the server is told\n%s, want\n%s", body, want)
			}
			got := resp.Header
			if !slices.Equal(got["X-Up"], []string{"route"}) || got.Get("X-Percent") != "100%" || got.Get("X-More") != "route" ||
				got.Get("Server") != "envoy" || got.Get("Date") == "" || got["X-Secret"] != nil || got["X-Envoy-Upstream-Service-Time"] != nil {
				t.Errorf("the application gets %v", got)
			}
		}
	})
}

// Of several destinations, each one's edits come before the rule's, as Envoy has it.
func TestARulesEditsComeAfterThoseOfSeveralDestinations(t *testing.T) {
	t.Parallel()
	const two = `
  - headers: {request: {set: {x-both: route}}}
    route:
    - {destination: {host: a.example.com}, weight: 1, headers: {request: {set: {x-both: first, x-own: first}}}}
    - {destination: {host: a.example.com}, weight: 1, headers: {request: {set: {x-both: second, x-own: second}}}}
`
	inModes(t, whatCame, rules(two), func(t *testing.T, m mode, r *rig, c *http.Client) {
		seen := map[string]int{}
		for range 200 {
			_, body := fetch(t, c, getRequest(t, "http://a.example.com/"))
			seen[body]++
		}
		first, second := seen[`GET / host=a.example.com X-Both=["route"] X-Own=["first"]`], seen[`GET / host=a.example.com X-Both=["route"] X-Own=["second"]`]
		if first+second != 200 || first < 50 || second < 50 {
			t.Errorf("%v", seen)
		}
	})
}

func TestPathsAreRewrittenInEveryPairOfProtocols(t *testing.T) {
	t.Parallel()
	const paths = `
  - match: [{uri: {prefix: /api/}}, {uri: {prefix: /OLD}, ignoreUriCase: true}]
    rewrite: {uri: /v2/, authority: inner.example.com}
  - match: [{uri: {exact: /exact}}]
    rewrite: {uri: /other}
  - match: [{uri: {regex: "/r/.*"}}]
    rewrite: {uri: /whole}
  - match: [{uri: {prefix: /shop}}]
    rewrite: {uriRegexRewrite: {match: "^/shop/([^/]+)/([^/]+)", rewrite: '/\2/\1'}}
  - match: [{uri: {prefix: /every}}]
    rewrite: {uriRegexRewrite: {match: "e", rewrite: '[\0]'}}
  - match: [{uri: {prefix: /empty}}]
    rewrite: {uriRegexRewrite: {match: "^.*(x?)$", rewrite: '\1'}}
  - match: [{uri: {prefix: /bare}}]
    rewrite: {uri: bare}
  - match: [{headers: {x-all: {}}}]
    rewrite: {uri: /root}
`
	inModes(t, whatCame, rules(paths), func(t *testing.T, m mode, r *rig, c *http.Client) {
		for asked, want := range map[string]string{
			"/api/x?q=/api/":     "/v2/x?q=/api/ host=inner.example.com",
			"/api/./a/../b":      "/v2/b host=inner.example.com",
			"/oLd/x":             "/v2//x host=inner.example.com",
			"/exact?q":           "/other?q host=a.example.com",
			"/r/a/b?q":           "/whole?q host=a.example.com",
			"/shop/a/b/c?a=/b/c": "/b/a/c?a=/b/c host=a.example.com",
			"/every?e":           "/[e]v[e]ry?e host=a.example.com",
			"/bare/x":            "/bare/x host=a.example.com",
			"/empty?q":           "/empty?q host=a.example.com",
		} {
			if _, body := fetch(t, c, getRequest(t, "http://a.example.com"+asked)); body != "GET "+want {
				t.Errorf("%s becomes %q, want %q", asked, body, want)
			}
		}
		req := getRequest(t, "http://a.example.com/x")
		req.Header.Set("X-All", "1")
		if _, body := fetch(t, c, req); !strings.HasPrefix(body, "GET /rootx ") { // Istio makes it the prefix /
			t.Errorf("without a condition on the path: %q", body)
		}
		await.Silence(t, func() string {
			if log := r.access.String(); !strings.Contains(log, `"path":"/api/x?q=/api/"`) || strings.Contains(log, "inner.example.com") || strings.Contains(log, "/v2/") {
				return "the access log does not have what was asked for: " + log
			}
			return ""
		})
	})
}

// What an expression makes of a path is bounded: here it would be many times as long.
func TestAPathThatGrowsTooLongIsRefused(t *testing.T) {
	t.Parallel()
	grows := rules(`
  - rewrite: {uriRegexRewrite: {match: "a", rewrite: '` + strings.Repeat(`\0`, 500) + `'}}
`)
	inModes(t, whatCame, grows, func(t *testing.T, m mode, r *rig, c *http.Client) {
		resp, _ := fetch(t, c, getRequest(t, "http://a.example.com/"+strings.Repeat("a", 7000)))
		if resp.StatusCode != 431 {
			t.Errorf("%d", resp.StatusCode)
		}
		if _, body := fetch(t, c, getRequest(t, "http://a.example.com/a")); body != "GET /"+strings.Repeat("a", 500)+" host=a.example.com" {
			t.Errorf("then %q", body)
		}
	})
}

// The proxy's own answers to a rule's requests are edited too, as Envoy's are.
func TestLocalRepliesAreEdited(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{{"", "h1", ""}, {"", "h2", ""}} {
		t.Run(m.app, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP", 80, "127.0.0.1:1")+static("b", "b.example.com", "HTTP", 80, "127.0.0.1:1")+rules(`
  - headers: {response: {set: {content-type: text/html, x-rule: "1", date: never}, remove: [server]}}
`))
			c := m.client(r)
			for range 2 {
				resp, body := fetch(t, c, getRequest(t, "http://a.example.com/"))
				if h := resp.Header; resp.StatusCode != 503 || !strings.Contains(body, "Connection refused") || h.Get("Content-Type") != "text/html" ||
					h.Get("X-Rule") != "1" || len(h["Date"]) != 1 || h.Get("Date") != "never" || h.Get("Server") != "envoy" {
					t.Errorf("%d %v %q", resp.StatusCode, h, body)
				}
				if resp, _ := fetch(t, c, getRequest(t, "http://b.example.com/")); resp.StatusCode != 503 || resp.Header.Get("X-Rule") != "" {
					t.Errorf("another host's answer: %v", resp.Header)
				}
			}
		})
	}
}

// What the application names in Connection stops at the proxy, and what the rule puts
// there does not: the two are not taken for one another.
func TestAConnectionFieldCannotTakeAwayWhatARuleSets(t *testing.T) {
	t.Parallel()
	m := mode{"", "h1", "h1"}
	r := newRig(t, mesh.RegistryOnly, m.serve(t, whatCame)+rules(`
  - headers: {request: {set: {x-user: rule}, add: {x-extra: rule}}}
`))
	got := r.raw("GET / HTTP/1.1\r\nHost: a.example.com\r\nX-User: me\r\nX-Extra: me\r\nConnection: close, x-user, x-extra\r\n\r\n")
	if !strings.HasSuffix(got, `host=a.example.com X-Extra=["rule"] X-User=["rule"]`) {
		t.Errorf("%q", got)
	}
}

// The name that was asked for decides what is let through and where it goes; the one
// that the server is told decides nothing.
func TestARewrittenAuthorityDoesNotMoveTheRequest(t *testing.T) {
	t.Parallel()
	port, own := webAt(t, "127.0.0.2:0", "own")
	_, other := webAt(t, "127.0.0.3:"+port, "other")
	r := newRig(t, mesh.RegistryOnly, none("*.example.com", "HTTP", port)+rules(`
  - rewrite: {authority: b.example.com}
`))
	r.names.Store("a.example.com", []string{"127.0.0.2"})
	r.names.Store("b.example.com", []string{"127.0.0.3"})
	for _, dst := range []string{"127.0.0.2:", "127.0.0.3:"} {
		r.to(dst + port)
		for range 2 {
			if _, body := r.get("http://a.example.com/"); body != "own" {
				t.Errorf("sent to %s, it comes to %q", dst, body)
			}
		}
	}
	if other.Load() != 0 || own.Load() != 4 {
		t.Errorf("own server %d requests, the other %d", own.Load(), other.Load())
	}
	if resp, _ := r.get("http://b.other.com/"); resp.StatusCode != 502 {
		t.Errorf("a name that nobody registers: %d", resp.StatusCode)
	}
}

func TestAWebSocketsAnswerIsEdited(t *testing.T) {
	t.Parallel()
	m := mode{"", "h1", "h1"}
	r := newRig(t, mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Secret: s\r\nX-Told: %s\r\n\r\n", r.Header.Get("X-Rule"))
		rw.Flush()
		io.Copy(c, rw)
	})+rules(`
  - headers: {request: {set: {x-rule: told}}, response: {set: {x-rule: answer}, remove: [x-secret]}}
`))
	got := r.raw("GET / HTTP/1.1\r\nHost: a.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
	for _, want := range []string{"HTTP/1.1 101 ", "X-Told: told\r\n", "x-rule: answer\r\n", "\r\n\r\nhello"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if strings.Contains(got, "Secret") {
		t.Errorf("%q", got)
	}
}
