package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// retryRules is a VirtualService for a.example.com with a rule for each name, whose
// paths begin with it, and its retries.
func retryRules(rules map[string]string) string {
	var b strings.Builder
	b.WriteString(`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: retries}
spec:
  hosts: [a.example.com]
  http:
`)
	for name, retries := range rules {
		fmt.Fprintf(&b, "  - match: [{uri: {prefix: \"/%s/\"}}]\n    route: [{destination: {host: a.example.com}}]\n%s", name, retries)
	}
	return b.String()
}

// tryCount is a server's memory of how often it was asked for each path.
type tryCount struct{ paths sync.Map }

func (c *tryCount) next(path string) int32 {
	n, _ := c.paths.LoadOrStore(path, new(atomic.Int32))
	return n.(*atomic.Int32).Add(1)
}

func (c *tryCount) of(path string) int32 {
	n, ok := c.paths.Load(path)
	if !ok {
		return 0
	}
	return n.(*atomic.Int32).Load()
}

// failures are ways in which a server fails the first try, by their names in a path.
var failures = map[string]func(w http.ResponseWriter){
	"500": answerWith(500), "502": answerWith(502), "503": answerWith(503), "504": answerWith(504), "507": answerWith(507), "409": answerWith(409), "404": answerWith(404),
	"limited": func(w http.ResponseWriter) { w.Header().Set("X-Envoy-Ratelimited", "true"); w.WriteHeader(503) },
	"abort":   func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	"grpc1":   trailersOnly(1), "grpc4": trailersOnly(4), "grpc8": trailersOnly(8), "grpc13": trailersOnly(13), "grpc14": trailersOnly(14), "grpc2": trailersOnly(2),
	"trailer14": func(w http.ResponseWriter) {
		w.Header().Set("Trailer", "Grpc-Status")
		io.WriteString(w, "message")
		w.Header().Set("Grpc-Status", "14")
	},
}

func answerWith(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code); io.WriteString(w, "no") }
}

func trailersOnly(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.Header().Set("Grpc-Status", strconv.Itoa(code)) }
}

// worthRetrying has Envoy's documentation in a table: which failures each condition is
// about.
var worthRetrying = map[string]string{
	"5xx":                    "500 502 503 504 507 abort",
	"gateway-error":          "502 503 504 abort",
	"reset":                  "abort",
	"reset-before-request":   "",
	"connect-failure":        "",
	"refused-stream":         "",
	"retriable-4xx":          "409",
	"envoy-ratelimited":      "limited",
	"retriable-status-codes": "",
	"cancelled":              "grpc1",
	"deadline-exceeded":      "grpc4",
	"resource-exhausted":     "grpc8",
	"internal":               "grpc13",
	"unavailable":            "grpc14",
	"404":                    "404",
	"503,409":                "503 409",
	"connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes": "grpc1 grpc14", // Istio's default
}

// The body is small, and POST keeps what is sent again on stale connections out of it.
func TestWhatARetryPolicyNamesIsTriedAgainAndNothingElse(t *testing.T) {
	t.Parallel()
	rules := map[string]string{}
	for condition := range worthRetrying {
		rules[condition] = fmt.Sprintf("    retries: {attempts: 1, retryOn: %q, backoff: 1ms}\n", condition)
	}
	var seen tryCount
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		way := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if string(body) != "the body" {
			t.Errorf("%s: the body is %q", r.URL, body)
		}
		if seen.next(r.URL.Query().Get("id")+r.URL.Path) == 1 {
			failures[way](w)
			return
		}
		io.WriteString(w, "again")
	}
	inModes(t, handler, retryRules(rules), func(t *testing.T, m mode, r *rig, c *http.Client) {
		var all sync.WaitGroup
		id := strings.ReplaceAll(m.name, " ", "-")
		for condition, about := range worthRetrying {
			all.Go(func() {
				for way := range failures {
					path := "/" + condition + "/" + way
					resp, err := c.Post("http://a.example.com"+path+"?id="+id, "text/plain", strings.NewReader("the body"))
					if err != nil {
						t.Errorf("%s: %v", path, err)
						continue
					}
					body, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					want := int32(1)
					if strings.Contains(" "+about+" ", " "+way+" ") {
						want = 2
					}
					if n := seen.of(id + path); n != want || (string(body) == "again") != (want == 2) {
						t.Errorf("%s: %d tries, want %d; %s %q", path, n, want, resp.Status, body)
					}
				}
			})
		}
		all.Wait()
		if n := proxy.KeptBodies(r.server); n != 0 {
			t.Errorf("%d bytes are kept", n)
		}
	})
}

// What is left of tries that all fail.
func TestTriesThatAreSpentHaveEnvoysFlagsAndWords(t *testing.T) {
	t.Parallel()
	var seen tryCount
	handler := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		seen.next(r.URL.Query().Get("id") + r.URL.Path)
		failures[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]](w)
	}
	rules := retryRules(map[string]string{
		"three": "    retries: {attempts: 3, retryOn: \"5xx,unavailable\", backoff: 1ms}\n",
		"off":   "    retries: {attempts: 0}\n",
		"none":  "",
	})
	const broke = "upstream connect error or disconnect/reset before headers. "
	inModes(t, handler, rules, func(t *testing.T, m mode, r *rig, c *http.Client) {
		id := m.name[:2] + m.service
		reset, flag := "connection termination", "UC"
		if strings.HasPrefix(m.service, "h2") {
			reset, flag = "remote reset", "UR"
		}
		for path, want := range map[string]struct {
			tries       int32
			status      int
			body, flags string
		}{
			"/three/503":    {4, 503, "no", "URX"},
			"/three/404":    {1, 404, "no", "-"},
			"/three/abort":  {4, 503, broke + "retried and the latest reset reason: " + reset, flag + ",URX"},
			"/three/grpc14": {4, 200, "", "URX"},
			"/off/503":      {1, 503, "no", "-"},
			"/off/abort":    {1, 503, broke + "reset reason: " + reset, flag},
			"/none/503":     {1, 503, "no", "-"},
			"/none/abort":   {1, 503, broke + "reset reason: " + reset, flag},
		} {
			resp, err := c.Post("http://a.example.com"+path+"?id="+id, "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if n := seen.of(id + path); n != want.tries || resp.StatusCode != want.status || string(body) != want.body {
				t.Errorf("%s: %d tries, %s %q; want %+v", path, n, resp.Status, body, want)
			}
			await.Silence(t, func() string {
				return r.notLogged(fmt.Sprintf(`"path":"%s?id=%s","protocol":"HTTP/%s","response_code":%d,"response_flags":%q`, path, id, version(m), want.status, want.flags))
			})
		}
	})
}

func TestATryThatTakesTooLongIsGivenUpForTheNext(t *testing.T) {
	t.Parallel()
	var seen tryCount
	handler := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if n := seen.next(r.URL.Query().Get("id") + r.URL.Path); strings.HasSuffix(r.URL.Path, "/always") || n == 1 {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		time.Sleep(700 * time.Millisecond) // the server's; perTryTimeout ended with the head
		io.WriteString(w, "answered")
	}
	rules := retryRules(map[string]string{
		"try":    "    retries: {attempts: 2, perTryTimeout: 600ms, retryOn: reset, backoff: 1ms}\n",
		"named":  "    retries: {attempts: 2, perTryTimeout: 300ms, retryOn: connect-failure, backoff: 1ms}\n",
		"within": "    timeout: 1500ms\n    retries: {attempts: 9, perTryTimeout: 900ms, retryOn: 5xx, backoff: 1ms}\n",
		"longer": "    timeout: 300ms\n    retries: {attempts: 9, perTryTimeout: 300ms, retryOn: 5xx, backoff: 1ms}\n",
	})
	inModes(t, handler, rules, func(t *testing.T, m mode, r *rig, c *http.Client) {
		id := m.name[:2] + m.service
		for path, want := range map[string]struct {
			tries       int32
			status      int
			body, flags string
		}{
			"/try/once":      {2, 200, "answered", "-"},
			"/try/always":    {3, 504, "upstream request timeout", "UT,URX"},
			"/named/always":  {1, 504, "upstream request timeout", "UT"},
			"/within/always": {2, 504, "upstream request timeout", "UT"},
			"/longer/always": {1, 504, "upstream request timeout", "UT"}, // no shorter than the route's: Envoy leaves it out
		} {
			resp, err := c.Post("http://a.example.com"+path+"?id="+id, "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if n := seen.of(id + path); n != want.tries || resp.StatusCode != want.status || string(body) != want.body || err != nil {
				t.Errorf("%s: %d tries, %s %q %v; want %+v", path, n, resp.Status, body, err, want)
			}
			await.Silence(t, func() string {
				return r.notLogged(fmt.Sprintf(`"path":"%s?id=%s","protocol":"HTTP/%s","response_code":%d,"response_flags":%q`, path, id, version(m), want.status, want.flags))
			})
		}
	})
}

// version is the application's, as the access log has it.
func version(m mode) string {
	if m.app == "h2" {
		return "2"
	}
	return "1.1"
}

// replayed is a body of that size, which does not repeat itself soon.
func replayed(size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return body
}

// A body is kept up to 1 MiB; a longer one cannot be sent again, which the
// application sees as the first try's answer.
func TestABodyIsSentAgainWholeUpToAMebibyte(t *testing.T) {
	t.Parallel()
	var seen tryCount
	handler := func(w http.ResponseWriter, r *http.Request) {
		n := seen.next(r.URL.Query().Get("id") + r.URL.Path)
		early := strings.Contains(r.URL.Path, "/early")
		hash := sha256.New()
		if early && n == 1 { // an answer before the body has come
			io.CopyN(hash, r.Body, 10)
		} else {
			io.Copy(hash, r.Body)
		}
		if n == 1 {
			w.WriteHeader(503)
			io.WriteString(w, "first")
			return
		}
		fmt.Fprintf(w, "%x", hash.Sum(nil))
	}
	rules := retryRules(map[string]string{"r": "    retries: {attempts: 1, retryOn: 5xx, backoff: 1ms}\n"})
	inModes(t, handler, rules, func(t *testing.T, m mode, r *rig, c *http.Client) {
		id := m.name[:2] + m.service
		for _, size := range []int{0, 1, 5000, 64 << 10, 200_000, 1<<20 - 8192, 1 << 20, 1<<20 + 1, 3 << 20} {
			for _, way := range []string{"length", "chunked", "early", "early-chunked"} {
				path := fmt.Sprintf("/r/%s/%d", way, size)
				body := replayed(size)
				var reader io.Reader = bytes.NewReader(body)
				if strings.HasSuffix(way, "chunked") {
					reader = struct{ io.Reader }{reader}
				}
				req, _ := http.NewRequest("PUT", "http://a.example.com"+path+"?id="+id, reader)
				resp, err := c.Do(req)
				if err != nil {
					if size > 1<<20 && strings.HasPrefix(way, "early") {
						continue // net/http's client does not always wait for an answer that ends its upload
					}
					t.Errorf("%s: %v", path, err)
					continue
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := fmt.Sprintf("%x", sha256.Sum256(body))
				// Between HTTP/1 and HTTP/1 chunks are kept as they go, with their heads.
				if tooLong := size > 1<<20 || m.name == "h1 to h1" && strings.HasSuffix(way, "chunked") && size == 1<<20; tooLong {
					want = "first"
					if strings.HasPrefix(way, "early") {
						want = string(got) // how much has gone before the answer is chance
					}
				}
				if string(got) != want || err != nil {
					t.Errorf("%s: %s %q %v", path, resp.Status, got, err)
				}
			}
		}
		await.True(t, "nothing is kept", func() bool { return proxy.KeptBodies(r.server) == 0 })
	})
}

// With no memory left to keep bodies in, requests go on with one try.
func TestWithoutMemoryForBodiesThereIsNoOtherTry(t *testing.T) {
	t.Parallel()
	var seen tryCount
	for _, m := range modes {
		r := newRig(t, mesh.RegistryOnly, "", limited(proxy.Limits{Bodies: 1 << 20}))
		r.apply(mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			if seen.next(m.name+r.URL.Path) == 1 {
				w.WriteHeader(503)
			}
			fmt.Fprint(w, n)
		})+retryRules(map[string]string{"r": "    retries: {attempts: 1, retryOn: 5xx, backoff: 1ms}\n"}))
		c := m.client(r)
		for size, want := range map[int]int{300_000: 200, 700_000: 503} {
			resp, err := c.Post(fmt.Sprintf("http://a.example.com/r/%d", size), "text/plain", struct{ io.Reader }{bytes.NewReader(replayed(size))})
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want || string(body) != strconv.Itoa(size) {
				t.Errorf("%s, %d bytes: %s %s, want %d", m.name, size, resp.Status, body, want)
			}
		}
	}
}
