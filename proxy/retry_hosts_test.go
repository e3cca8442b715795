package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// atEach serves a.test on so many endpoints, of one address and with ports of their
// own, and returns its ServiceEntry.
func atEach(t *testing.T, n int, handler func(endpoint int) http.HandlerFunc) string {
	var b strings.Builder
	b.WriteString(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: p, protocol: HTTP}]
  resolution: STATIC
  endpoints:
`)
	for i := range n {
		_, port, _ := net.SplitHostPort(serve(t, handler(i)))
		fmt.Fprintf(&b, "  - {address: 127.0.0.1, ports: {p: %s}}\n", port)
	}
	return b.String()
}

// retrying is a VirtualService for a.test.
func retrying(retries string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http:
  - route: [{destination: {host: a.test}}]
    retries: %s
`, retries)
}

// TestARetryGoesToAnEndpointThatWasNotTried: two of three endpoints always fail.
func TestARetryGoesToAnEndpointThatWasNotTried(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	handler := func(endpoint int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			seen, _ := asked.LoadOrStore(r.URL.Path, new([3]atomic.Int32))
			seen.(*[3]atomic.Int32)[endpoint].Add(1)
			if endpoint != 1 {
				w.WriteHeader(503)
			}
		}
	}
	entry := atEach(t, 3, handler)
	rules := map[string]string{"h1": "", "previous": ", retryIgnorePreviousHosts: false"}
	again := atomic.Int32{}
	for name, more := range rules {
		r := newRig(t, mesh.RegistryOnly, entry+retrying("{attempts: 2, retryOn: 5xx, backoff: 1ms"+more+"}"))
		for _, c := range []*http.Client{r.client(), r.h2Client()} {
			for i := range 60 {
				path := fmt.Sprintf("/%s/%p/%d", name, c, i)
				resp, err := c.Get("http://a.test" + path)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if more == "" && resp.StatusCode != 200 {
					t.Errorf("%s: %s", path, resp.Status)
				}
				seen, _ := asked.Load(path)
				for e := range 3 {
					if n := seen.(*[3]atomic.Int32)[e].Load(); n > 1 {
						again.Add(1)
						if more == "" {
							t.Errorf("%s: endpoint %d was asked %d times", path, e, n)
						}
					}
				}
			}
		}
	}
	if again.Load() == 0 {
		t.Error("with retryIgnorePreviousHosts false no endpoint was asked twice")
	}
}

// A 1xx that the application has seen is a part of an answer.
func TestNothingIsTriedAgainOnceTheApplicationHasSeenAnInterimAnswer(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	handler := func(w http.ResponseWriter, _ *http.Request) {
		seen.Add(1)
		w.WriteHeader(103)
		w.WriteHeader(503)
	}
	inModes(t, handler, retryRules(map[string]string{"r": "    retries: {attempts: 3, retryOn: 5xx, backoff: 1ms}\n"}), func(t *testing.T, _ mode, r *rig, c *http.Client) {
		resp, err := c.Get("http://a.example.com/r/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 503 {
			t.Errorf("%s", resp.Status)
		}
		await.Silence(t, func() string { return r.notLogged(`"response_code":503,"response_flags":"-"`) })
	})
	t.Cleanup(func() {
		if n := seen.Load(); int(n) != len(modes) {
			t.Errorf("%d tries for %d requests", n, len(modes))
		}
	})
}

// longest draws nearly all of a back-off, and tells of the first.
func longest(waits chan<- struct{}) func() float64 {
	return func() float64 {
		select {
		case waits <- struct{}{}:
		default:
		}
		return 0.99
	}
}

// inBackOff begins a request that waits an hour before its second try, in every mode.
func inBackOff(t *testing.T, body func(t *testing.T, r *rig, tries *atomic.Int32, answer chan string, cancel func())) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			waits := make(chan struct{}, 1)
			r := newRig(t, mesh.RegistryOnly, "")
			proxy.NoticeDepartures(r.server, time.Second, 100*time.Millisecond)
			proxy.DrawBackOff(r.server, longest(waits))
			r.apply(mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if tries.Add(1) == 1 {
					w.WriteHeader(503)
				}
			})+retryRules(map[string]string{"r": "    timeout: 7200s\n    retries: {attempts: 3, retryOn: 5xx, backoff: 3600s}\n"}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := m.client(r)
			c.Timeout = 0
			answer := make(chan string, 1)
			go func() {
				req, _ := http.NewRequestWithContext(ctx, "POST", "http://a.example.com/r/", strings.NewReader("x"))
				resp, err := c.Do(req)
				if err != nil {
					answer <- err.Error()
					return
				}
				resp.Body.Close()
				answer <- resp.Status
			}()
			<-waits
			body(t, r, &tries, answer, cancel)
		})
	}
}

func TestBackOffEndsWhenTheServerStops(t *testing.T) {
	t.Parallel()
	inBackOff(t, func(t *testing.T, r *rig, tries *atomic.Int32, answer chan string, _ func()) {
		r.stop()
		select {
		case got := <-answer:
			if got != "200 OK" || tries.Load() != 2 {
				t.Errorf("%s after %d tries", got, tries.Load())
			}
		case <-time.After(await.Patience):
			t.Error("it goes on")
		}
	})
}

func TestBackOffEndsWhenTheApplicationLeaves(t *testing.T) {
	t.Parallel()
	inBackOff(t, func(t *testing.T, r *rig, tries *atomic.Int32, answer chan string, cancel func()) {
		cancel()
		<-answer
		await.Silence(t, func() string { return r.notLogged(`"response_code":0,"response_flags":"DC"`) })
		if tries.Load() != 1 {
			t.Errorf("%d tries", tries.Load())
		}
	})
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		var tries atomic.Int32
		waits := make(chan struct{}, 1)
		r := newRig(t, mesh.RegistryOnly, atEach(t, 1, func(int) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { tries.Add(1); w.WriteHeader(503) }
		})+retrying("{attempts: 3, retryOn: 5xx, backoff: 3600s}"))
		proxy.DrawBackOff(r.server, longest(waits))
		c := r.dial() // to a server that waits long after an end alone
		io.WriteString(c, get(""))
		<-waits
		cut(c)
		await.Silence(t, func() string { return r.notLogged(`"response_code":0,"response_flags":"DC"`) })
		if tries.Load() != 1 {
			t.Errorf("%d tries", tries.Load())
		}
	})
}

// The route's timeout has room for one try only.
func TestTheRoutesTimeoutEndsABackOff(t *testing.T) {
	t.Parallel()
	handler := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	rules := retryRules(map[string]string{"r": "    timeout: 400ms\n    retries: {attempts: 3, retryOn: 5xx, backoff: 3600s}\n"})
	inModes(t, handler, rules, func(t *testing.T, _ mode, r *rig, c *http.Client) {
		proxy.DrawBackOff(r.server, longest(nil))
		resp, body := fetch(t, c, getRequest(t, "http://a.example.com/r/"))
		if resp.StatusCode != 504 || body != "upstream request timeout" {
			t.Errorf("%s %q", resp.Status, body)
		}
		await.Silence(t, func() string { return r.notLogged(`"response_code":504,"response_flags":"UT"`) })
	})
}

// A connection that the server closed under a POST: only a policy that names it has it
// sent again.
func TestAPOSTIsSentTwiceOnlyWhereThePolicySaysSo(t *testing.T) {
	t.Parallel()
	for on, want := range map[string]struct {
		status   int
		requests int32
	}{"reset": {200, 3}, "connect-failure": {503, 2}, "reset-before-request": {503, 2}} {
		var requests atomic.Int32
		r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, closesSecond(t, &requests))+retrying("{attempts: 2, retryOn: "+on+", backoff: 1ms}"))
		c := r.dial()
		in := bufio.NewReader(c)
		const post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
		ask(t, c, in, "POST", post)
		if resp, body := ask(t, c, in, "POST", post); resp.StatusCode != want.status || requests.Load() != want.requests {
			t.Errorf("%s: %d %q, the server saw %d requests; want %+v", on, resp.StatusCode, body, requests.Load(), want)
		}
	}
}

// While one request's retry is under way, maxRetries 1 leaves no other; a request that
// wanted one has its first answer, with Envoy's flag.
func TestOnlySoManyRequestsAreTriedAgainAtOnce(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{{"h1 to h1", "h1", "h1"}, {"h1 to h2c", "h1", "h2c"}, {"h2 to h1", "h2", "h1"}, {"h2 to h2c", "h2", "h2c"}} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var seen tryCount
			again, release := make(chan struct{}, 1), make(chan struct{})
			r := newRig(t, mesh.RegistryOnly, "")
			r.apply(mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch n := seen.next(r.URL.Path); {
				case n == 1:
					w.WriteHeader(503)
				case r.URL.Path == "/r/held":
					again <- struct{}{}
					<-release
				}
			})+retryRules(map[string]string{"r": "    retries: {attempts: 1, retryOn: 5xx, backoff: 1ms}\n"})+
				rule("a.example.com", "connectionPool: {http: {maxRetries: 1}}"))
			c := m.client(r)
			held := make(chan int, 1)
			go func() {
				resp, err := c.Get("http://a.example.com/r/held")
				if err != nil {
					held <- 0
					return
				}
				resp.Body.Close()
				held <- resp.StatusCode
			}()
			<-again
			if resp, _ := fetch(t, c, getRequest(t, "http://a.example.com/r/over")); resp.StatusCode != 503 || seen.of("/r/over") != 1 {
				t.Errorf("%s after %d tries", resp.Status, seen.of("/r/over"))
			}
			close(release)
			if got := <-held; got != 200 {
				t.Errorf("the first request: %d", got)
			}
			if resp, _ := fetch(t, c, getRequest(t, "http://a.example.com/r/then")); resp.StatusCode != 200 {
				t.Errorf("then: %s", resp.Status)
			}
			await.Silence(t, func() string {
				return r.notLogged(`"path":"/r/over","protocol":"HTTP/` + version(m) + `","response_code":503,"response_flags":"UO"`)
			})
		})
	}
}
