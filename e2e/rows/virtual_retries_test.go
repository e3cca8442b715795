package rows

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// moody fails the first tries of each request, as often and in the way that its path
// says: /503, /503/503, /abort, /hang.
func moody() http.Handler {
	var mu sync.Mutex
	tries := map[string]int{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		mu.Lock()
		n := tries[r.Header.Get("X-Request-Id")+r.Proto]
		tries[r.Header.Get("X-Request-Id")+r.Proto]++
		mu.Unlock()
		ways := strings.Split(r.URL.Path[1:], "/")
		if n >= len(ways) {
			return
		}
		switch ways[n] {
		case "503":
			w.WriteHeader(503)
		case "500":
			w.WriteHeader(500)
		case "unavailable":
			w.Header().Set("Grpc-Status", "14")
		case "abort":
			panic(http.ErrAbortHandler)
		case "hang":
			<-r.Context().Done()
		}
	})
}

func TestVirtualServiceRetries(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.retries", func(p *egress.Pod) {
		for _, host := range []string{"usual.test", "named.test", "off.test"} {
			p.Net.Web(host, 80, moody())
		}
		p.Net.Name("gone.test")
		p.Net.Name("goneoff.test")
		policy := func(name, retries string) string {
			return object("VirtualService", name, `{hosts: [`+name+`.test], http: [{route: [{destination: {host: `+name+`.test}}], retries: `+retries+`}]}`)
		}
		p.Apply(web("usual.test", "named.test", "off.test", "gone.test", "goneoff.test") +
			policy("named", `{attempts: 2, retryOn: "503,reset", perTryTimeout: 300ms, backoff: 2ms}`) +
			policy("off", `{attempts: 0}`) + policy("goneoff", `{attempts: 0}`))
		const broke = "upstream connect error or disconnect/reset before headers. "
		for _, v := range egress.Versions {
			for path, want := range map[string][3]string{ // answer, flags, tries
				"usual.test/503":            {"503 usual.test", "-", "1"}, // Istio's default has no status
				"usual.test/unavailable":    {"200 usual.test", "-", "2"},
				"usual.test/abort":          {"503 UC " + broke + "reset reason: connection termination", "UC", "1"},
				"named.test/503":            {"200 named.test", "-", "2"},
				"named.test/503/503":        {"200 named.test", "-", "3"},
				"named.test/503/503/503":    {"503 named.test", "URX", "3"},
				"named.test/abort/hang":     {"200 named.test", "-", "3"},
				"named.test/hang":           {"200 named.test", "-", "2"},
				"named.test/500":            {"500 named.test", "-", "1"},
				"named.test/unavailable":    {"200 named.test", "-", "1"},
				"named.test/abort/503/hang": {"504 UT,URX upstream request timeout", "UT,URX", "3"},
				"off.test/503":              {"503 off.test", "-", "1"},
			} {
				host, _, _ := strings.Cut(path, "/")
				before := len(p.Net.Seen(host))
				p.Ask(egress.Request{URL: "http://" + path, Version: v, Method: "POST", Body: "body"}).Want(want[0]).WantLine(want[1], "outbound|80||"+host)
				if n := len(p.Net.Seen(host)) - before; want[2] != string(rune('0'+n)) {
					p.T.Errorf("%s %s: the server saw %d tries, want %s", v, path, n, want[2])
				}
			}
			const refused = "remote connection failure, transport failure reason: delayed connect error: Connection refused"
			p.Ask(egress.Request{URL: "http://gone.test/", Version: v}).Want("503 UF,URX " + broke + "retried and the latest reset reason: " + refused)
			p.Ask(egress.Request{URL: "http://goneoff.test/", Version: v}).Want("503 UF " + broke + "reset reason: " + refused)
		}
	})
}

// A retry goes to the other of two endpoints, unless retryIgnorePreviousHosts is off.
func TestVirtualServiceRetryHosts(t *testing.T) {
	t.Parallel()
	for retries, sure := range map[string]bool{"": true, ", retryIgnorePreviousHosts: true": true, ", retryIgnorePreviousHosts: false": false} {
		row(t, "VS.http.retries", func(p *egress.Pod) { retriesHosts(p, "", retries, sure) })
	}
}

func TestVirtualServiceRetryRemoteLocalities(t *testing.T) {
	t.Parallel()
	for _, retries := range []string{"", ", retryRemoteLocalities: false", ", retryRemoteLocalities: true"} {
		row(t, "VS.http.retries.retryRemoteLocalities", func(p *egress.Pod) {
			retriesHosts(p, ", locality: far/away", retries, true)
		})
	}
}

// retriesHosts asks a name of two endpoints, one of which always fails; a retry always
// helps where it is sure to go to the other.
func retriesHosts(p *egress.Pod, locality, retries string, sure bool) {
	p.T.Helper()
	p.Net.Web("one.test", 80, nil)
	p.Net.Web("two.test", 80, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	p.Net.Name("both.test")
	p.Apply(object("ServiceEntry", "both", `{hosts: [both.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints:
  [{address: {{v4 "one.test"}}`+locality+`}, {address: {{v4 "two.test"}}}]}`) +
		object("VirtualService", "both", `{hosts: [both.test], http: [{route: [{destination: {host: both.test}}], retries: {attempts: 1, retryOn: 5xx, backoff: 1ms`+retries+`}}]}`))
	failed := 0
	for _, v := range egress.Versions {
		for range 60 {
			if a := p.Ask(egress.Request{URL: "http://both.test/", Version: v}); a.Status != 200 {
				failed++
			}
		}
	}
	// Else a quarter of 120 fails: none does by a chance of 10⁻¹⁵.
	if (failed == 0) != sure {
		p.T.Errorf("%q: %d of 120 failed", retries, failed)
	}
}
