package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

func TestFaultsAreInjectedInEveryPairOfProtocols(t *testing.T) {
	t.Parallel()
	inModes(t, whatCame, rules(`
  - match: [{uri: {exact: /late}}]
    fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}}
    timeout: 900ms
  - match: [{uri: {exact: /broken}}]
    headers: {response: {set: {x-rule: "1"}}}
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
  - match: [{uri: {exact: /both}}]
    fault: {delay: {fixedDelay: 150ms}, abort: {httpStatus: 500}}
  - match: [{uri: {exact: /nowhere}}]
    fault: {delay: {fixedDelay: 150ms}}
    route: [{destination: {host: unregistered.test}}]
  - fault: {delay: {fixedDelay: 1h, percentage: {value: 0}}, abort: {httpStatus: 500, percentage: {value: 0}}}
`), func(t *testing.T, m mode, r *rig, c *http.Client) {
		for range 2 {
			for _, want := range []struct {
				path, answer, flags string
				least               time.Duration
			}{
				{"/late", "200 GET /late host=a.example.com", "DI", time.Second}, // its timeout counts from then on
				{"/broken", "418 fault filter abort", "FI", 0},
				{"/both", "500 fault filter abort", "DI,FI", 150 * time.Millisecond},
				{"/nowhere", "503 ", "DI,NC", 150 * time.Millisecond},
				{"/fine", "200 GET /fine host=a.example.com", "-", 0},
			} {
				begun := time.Now()
				resp, body := fetch(t, c, getRequest(t, "http://a.example.com"+want.path))
				if got := fmt.Sprint(resp.StatusCode, " ", body); got != want.answer || time.Since(begun) < want.least || resp.Header.Get("X-Rule") != "" {
					t.Errorf("%s: %q after %v, want %q after %v or more; %v", want.path, got, time.Since(begun), want.answer, want.least, resp.Header)
				}
				await.Silence(t, func() string {
					if line := fmt.Sprintf(`"path":%q,"protocol"`, want.path); !strings.Contains(r.access.String(), line) {
						return "no line with " + line
					}
					return ""
				})
				for _, line := range strings.Split(r.access.String(), "\n") {
					if strings.Contains(line, fmt.Sprintf("%q", want.path)) && !strings.Contains(line, fmt.Sprintf(`"response_flags":%q`, want.flags)) {
						t.Errorf("%s: want the flags %s in %s", want.path, want.flags, line)
					}
				}
			}
		}
	})
}

func TestAGRPCStatusIsInjectedIntoGRPCOnly(t *testing.T) {
	t.Parallel()
	inVersions(t, static("a", "a.example.com", "HTTP", 80, "127.0.0.1:1")+rules(`
  - match: [{uri: {prefix: /grpc}}]
    fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED}}
  - match: [{uri: {prefix: /fine}}]
    fault: {abort: {grpcStatus: OK}}
  - fault: {abort: {httpStatus: 404}}
`), func(t *testing.T, r *rig, c *http.Client) {
		for _, want := range [][4]string{
			{"/grpc", "application/grpc", "200 8 fault filter abort", ""},
			{"/fine", "application/grpc", "200 0 fault filter abort", ""},
			{"/http", "application/grpc", "200 12 fault filter abort", ""},
			{"/grpc", "text/plain", "200  ", "fault filter abort"},
			{"/http", "text/plain", "404  ", "fault filter abort"},
		} {
			req := getRequest(t, "http://a.example.com"+want[0])
			req.Header.Set("Content-Type", want[1])
			resp, body := fetch(t, c, req)
			got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Grpc-Status"), " ", resp.Header.Get("Grpc-Message"))
			if got != want[2] || body != want[3] {
				t.Errorf("%s %s: %q %q, want %q %q", want[0], want[1], got, body, want[2], want[3])
			}
		}
	})
}

// A share is drawn once for each request, wherever it ends up being served: a second
// draw would make p into p².
func TestFaultsFindTheirShareOfRequests(t *testing.T) {
	t.Parallel()
	const requests, share = 4_000, 0.3
	inVersions(t, "", func(t *testing.T, r *rig, c *http.Client) {
		r.apply(mesh.RegistryOnly, mode{service: "h1"}.serve(t, func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/last" { // a lane loses its upstream connection
				w.Header().Set("Connection", "close")
			}
		})+rules("  - fault: {delay: {fixedDelay: 1ms, percentage: {value: 30}}, abort: {httpStatus: 418, percentage: {value: 30}}}\n"))
		const workers = 20
		aborted := make(chan int, workers)
		for range workers {
			go func() {
				n := 0
				for i := range requests / workers {
					path := "/"
					if i%3 == 0 {
						path = "/last"
					}
					resp, err := c.Get("http://a.example.com" + path)
					if err != nil {
						t.Error(err)
						break
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode == 418 {
						n++
					}
				}
				aborted <- n
			}()
		}
		total := 0
		for range workers {
			total += <-aborted
		}
		sigma := math.Sqrt(requests * share * (1 - share))
		if math.Abs(float64(total)-requests*share) > 4*sigma {
			t.Errorf("%d of %d were aborted, not 30%%", total, requests)
		}
		await.Silence(t, func() string {
			if n := strings.Count(r.access.String(), `"response_flags"`); n != requests {
				return fmt.Sprintf("%d lines", n)
			}
			return ""
		})
		delayed := strings.Count(r.access.String(), `"response_flags":"DI`)
		both := strings.Count(r.access.String(), `"response_flags":"DI,FI"`)
		if math.Abs(float64(delayed)-requests*share) > 4*sigma || math.Abs(float64(both)-requests*share*share) > 4*math.Sqrt(requests*share*share*(1-share*share)) {
			t.Errorf("%d of %d were held back, %d of them aborted too", delayed, requests, both)
		}
	})
}

const anHour = "  - fault: {delay: {fixedDelay: 1h, percentage: {value: 100}}}\n"

// logged waits for a line of the access log with all of that.
func logged(t *testing.T, r *rig, want ...string) {
	t.Helper()
	await.Silence(t, func() string {
		for line := range strings.SplitSeq(r.access.String(), "\n") {
			missing := false
			for _, w := range want {
				missing = missing || !strings.Contains(line, w)
			}
			if !missing {
				return ""
			}
		}
		return fmt.Sprintf("no line with %q in %s", want, r.access)
	})
}

// awaitDecisions waits until requests on that many connections have been decided about.
func awaitDecisions(t *testing.T, r *rig, n int) {
	t.Helper()
	await.Silence(t, func() string {
		all, _ := r.server.Connections(n)
		for _, c := range all {
			if c.Cluster == "" {
				return fmt.Sprintf("nothing is decided about %v", c.Source)
			}
		}
		if len(all) < n {
			return fmt.Sprintf("%d connections", len(all))
		}
		return ""
	})
}

func TestAnApplicationThatLeavesEndsItsDelay(t *testing.T) {
	t.Parallel()
	yaml := static("a", "a.example.com", "HTTP", 80, "127.0.0.1:1") + rules(anHour)
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, mesh.RegistryOnly, yaml)
		c := r.dial()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\nGET /next HTTP/1.1\r\n")
		awaitDecisions(t, r, 1)
		c.SetLinger(0)
		c.Close()
		logged(t, r, `"response_code":0`, `"response_flags":"DI,DC"`)
	})
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, mesh.RegistryOnly, yaml)
		proxy.NoticeDepartures(r.server, time.Hour, 100*time.Millisecond)
		c := r.dial()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
		awaitDecisions(t, r, 1)
		c.CloseWrite()
		logged(t, r, `"response_code":0`, `"response_flags":"DI,DC"`)
	})
	t.Run("h2", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, mesh.RegistryOnly, yaml)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			awaitDecisions(t, r, 1)
			cancel()
		}()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://a.example.com/", nil)
		if _, err := r.h2Client().Do(req); err == nil {
			t.Error("answered")
		}
		logged(t, r, `"response_code":0`, `"response_flags":"DI,DC"`)
	})
}

// A half-closed connection still wants its answer.
func TestADelayIsForAHalfClosedConnectionToo(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, mode{service: "h1"}.serve(t, whatCame)+rules("  - fault: {delay: {fixedDelay: 200ms, percentage: {value: 100}}}\n"))
	for range 2 {
		if got := r.raw("GET /x HTTP/1.1\r\nHost: a.example.com\r\n\r\n"); !strings.Contains(got, "GET /x host=a.example.com") {
			t.Errorf("%q", got)
		}
	}
}

// What is held back when the proxy stops is carried at once: neither lost nor waited for.
func TestAStopEndsDelaysWithTheRequestsCarried(t *testing.T) {
	t.Parallel()
	for _, app := range []string{"h1", "h2"} {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, mode{service: "h1"}.serve(t, func(w http.ResponseWriter, q *http.Request) {
				b, _ := io.ReadAll(q.Body)
				fmt.Fprintf(w, "%d", len(b))
			})+rules(anHour), func(c *proxy.Config) { c.DrainTimeout = time.Minute })
			c := mode{app: app}.client(r)
			sizes := map[string][]int{"h1": {0, 200 << 10}, "h2": {200 << 10}}[app] // a connection for each
			answer := make(chan string, len(sizes))
			for _, size := range sizes {
				go func() {
					resp, err := c.Post("http://a.example.com/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
					if err != nil {
						answer <- err.Error()
						return
					}
					defer resp.Body.Close()
					b, err := io.ReadAll(resp.Body)
					answer <- fmt.Sprintf("%d %d %s %v", size, resp.StatusCode, b, err)
				}()
			}
			awaitDecisions(t, r, len(sizes))
			r.stop()
			for range sizes {
				if got := <-answer; got != "0 200 0 <nil>" && got != "204800 200 204800 <nil>" {
					t.Errorf("%s", got)
				}
			}
		})
	}
}

func TestWhatARuleAnswersIsCountedOnceWithItsFlags(t *testing.T) {
	t.Parallel()
	for _, app := range []string{"h1", "h2"} {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			c := newCounted(t, static("a", "a.example.com", "HTTP", 80, "127.0.0.1:1")+rules(`
  - match: [{uri: {exact: /both}}]
    fault: {delay: {fixedDelay: 1ms}, abort: {httpStatus: 418}}
  - match: [{uri: {exact: /broken}}]
    fault: {abort: {grpcStatus: NOT_FOUND}}
  - match: [{uri: {exact: /moved}}]
    redirect: {uri: /new, redirectCode: 307}
  - directResponse: {status: 204}
`))
			client := mode{app: app}.client(c.rig)
			for range 3 {
				for _, path := range []string{"/both", "/broken", "/moved", "/shut"} {
					req := getRequest(t, "http://a.example.com"+path)
					if path == "/broken" {
						req.Header.Set("Content-Type", "application/grpc")
					}
					fetch(t, client, req)
				}
			}
			const name, a = "istio_requests_total", "destination_service=a.example.com"
			c.eventually(3, name, a, "response_flags=DI,FI", "response_code=418")
			c.eventually(3, name, a, "response_flags=FI", "response_code=200", "grpc_response_status=5", "request_protocol=grpc")
			c.eventually(3, name, "response_flags=-", "response_code=307")
			c.eventually(3, name, "response_flags=-", "response_code=204")
			c.eventually(12, name)
		})
	}
}
