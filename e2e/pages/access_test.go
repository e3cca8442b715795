package pages

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// The task "Accessing External Services".

func serveWeather(p *egress.Pod) {
	p.Net.Web("weather.example", 80, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if seconds, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/delay/")); err == nil {
			select {
			case <-time.After(time.Duration(seconds) * time.Second):
			case <-r.Context().Done():
			}
		}
	}))
	p.Net.WebTLS("maps.example", 443, nil)
}

func TestEnvoyPassthroughToExternalServices(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{Policy: mesh.AllowAny})
	serveWeather(p)
	both(p, "https://maps.example", "200 maps.example")
	both(p, "http://weather.example", "200 weather.example")
}

func TestControlledAccessToExternalServices(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveWeather(p)
	p.Handshake("maps.example:443", "maps.example").Want("reset") // curl's exit code 35
	both(p, "http://weather.example", "502 -")

	p.Apply(fixture(t, "access-http") + "\n---\n" + fixture(t, "access-https"))
	both(p, "http://weather.example/headers", "200 weather.example")
	p.Get("http://weather.example/headers").WantLine("-", "outbound|80||weather.example")
	both(p, "https://maps.example", "200 maps.example")
	l := p.Handshake("maps.example:443", "maps.example").Want("maps.example").Line()
	if l.Cluster != "outbound|443||maps.example" || l.ServerName != "maps.example" || l.Status != 0 || l.Method != "" {
		t.Errorf("%s", l.Text)
	}
	// The page warns that resolution NONE would let a client lie about its destination;
	// with DNS the entry's own server has the request.
	p.Net.Web("stranger.example", 80, nil)
	p.Ask(egress.Request{URL: "http://weather.example", At: p.Net.Lookup("stranger.example", "IPv4") + ":80"}).Want("200 weather.example")
}

func TestManageTrafficToExternalServices(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveWeather(p)
	p.Apply(fixture(t, "access-http"))
	both(p, "http://weather.example/delay/1", "200 weather.example")
	p.Apply(fixture(t, "access-timeout"))
	begin := time.Now()
	both(p, "http://weather.example/delay/60", "504 UT upstream request timeout")
	if took := time.Since(begin); took < 600*time.Millisecond {
		t.Errorf("two requests were cut off after %s", took)
	}
	both(p, "http://weather.example/", "200 weather.example")
}

func TestDirectAccessToExternalServices(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{Rules: map[string]string{"includeIPRanges": "10.96.0.0/12"}})
	serveWeather(p)
	both(p, "http://weather.example", "200 weather.example")
	both(p, "https://maps.example", "200 maps.example")
	if l := p.Lines(); len(l) != 0 {
		t.Errorf("the proxy was asked: %v", l)
	}
}
