package pages

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// serveReviews serves what the fixture "reviews" registers.
func serveReviews(p *egress.Pod) {
	p.Net.Name("reviews.example", "203.0.113.250")
	for _, v := range []string{"v1", "v2", "v3"} {
		host := "reviews-" + v + ".example"
		p.Net.Web(host, 9080, nil)
		p.Net.TCP(host, 9000, func(c net.Conn) { io.WriteString(c, host) })
	}
}

// The task "Request Routing".
func TestRequestRouting(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveReviews(p)
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "request-routing"))
	for _, v := range egress.Versions {
		for range 5 {
			p.Ask(egress.Request{URL: "http://reviews.example:9080/0", Version: v}).Want("200 reviews-v1.example")
			p.Ask(egress.Request{URL: "http://reviews.example:9080/0", Version: v, Header: map[string]string{"end-user": "mary"}}).
				Want("200 reviews-v2.example")
		}
	}
}

// The tasks "Traffic Shifting" and "TCP Traffic Shifting". The bounds are five standard
// deviations away.
func TestTrafficShifting(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveReviews(p)
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "traffic-shifting"))
	for _, v := range egress.Versions {
		got := map[string]int{}
		for range 200 {
			got[p.Ask(egress.Request{URL: "http://reviews.example:9080/0", Version: v}).String()]++
		}
		if n := got["200 reviews-v1.example"]; n < 65 || n > 135 || n+got["200 reviews-v3.example"] != 200 {
			t.Errorf("%s: %v", v, got)
		}
	}
	got := map[string]int{}
	for range 200 {
		got[p.Say("reviews.example:9000", "").String()]++
	}
	if n := got["reviews-v2.example"]; n < 12 || n > 68 || n+got["reviews-v1.example"] != 200 {
		t.Errorf("TCP: %v", got)
	}
}

// The task "Locality failover".
func TestLocalityFailoverIsReported(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	for _, host := range []string{"hello-1.example", "hello-2.example", "hello-3.example"} {
		p.Net.Web(host, 5000, nil)
	}
	issues := p.Apply(fixture(t, "locality-failover"))
	for _, field := range []string{"localityLbSetting", "endpoints[0].locality"} {
		if !strings.Contains(issues.Of(mesh.Warning).String(), field) {
			t.Errorf("%s is not warned of:\n%s", field, issues)
		}
	}
	if !strings.Contains(issues.String(), "maxEjectionPercent") {
		t.Errorf("nothing is said of ejections that never happen:\n%s", issues)
	}
	// Every endpoint is as near as any other.
	at := p.Net.Lookup("hello-1.example", "IPv4") + ":5000"
	for _, v := range egress.Versions {
		got := map[string]int{}
		for range 30 {
			got[p.Ask(egress.Request{URL: "http://hello.example:5000/hello", Version: v, At: at}).String()]++
		}
		if len(got) != 3 || got["200 hello-3.example"] == 0 {
			t.Errorf("%s: %v", v, got)
		}
	}
}

// The task "Request Timeouts".
func TestRequestTimeouts(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Name("reviews.example", "203.0.113.250")
	p.Net.Web("reviews-v2.example", 9080, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // its own backend answers too late
	}))
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "request-timeout"))
	begin := time.Now()
	both(p, "http://reviews.example:9080/", "504 UT upstream request timeout")
	if took := time.Since(begin); took < 500*time.Millisecond {
		t.Errorf("two requests were cut off after %s", took)
	}
}
