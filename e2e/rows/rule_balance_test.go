package rows

import (
	"net/http"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
)

// pair registers both.test with two servers, which answer /hold when released, and a
// policy for it. The endpoints have the given weights.
func pair(p *egress.Pod, weights [2]string, policy string) (release func()) {
	held := make(chan struct{})
	for _, host := range []string{"one.test", "two.test"} {
		p.Net.Web(host, 80, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				<-held
			}
		}))
	}
	entry := `{hosts: [both.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints:
  [{address: {{v4 "one.test"}}, weight: ` + weights[0] + `}, {address: {{v4 "two.test"}}, weight: ` + weights[1] + `}]}`
	rule := ""
	if policy != "" {
		rule = object("DestinationRule", "both", `{host: both.test, trafficPolicy: {`+policy+`}}`)
	}
	p.Net.Name("both.test")
	p.Apply(object("ServiceEntry", "both", entry) + rule)
	return func() { close(held) }
}

// toOne asks so often and says how often the first server answered.
func toOne(p *egress.Pod, n int, v egress.Version) int {
	return servers(p, n, egress.Request{URL: "http://both.test/", Version: v})[p.Net.Lookup("one.test", "IPv4")+":80"]
}

// The bounds are five standard deviations away from what an algorithm gives to the
// first server of 400 requests (at most 10 each).
func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	same, ninth := [2]string{"1", "1"}, [2]string{"1", "9"}
	for name, c := range map[string]struct {
		policy  string
		weights [2]string
		least   int
		most    int
	}{
		"in turn":            {"loadBalancer: {simple: ROUND_ROBIN}", same, 200, 200},
		"in turn by weight":  {"loadBalancer: {simple: ROUND_ROBIN}", ninth, 40, 40},
		"random":             {"loadBalancer: {simple: RANDOM}", same, 150, 250},
		"weights are passed": {"loadBalancer: {simple: RANDOM}", ninth, 150, 250},
		"default":            {"", same, 150, 250},
		"default by weight":  {"", ninth, 10, 70},
	} {
		row(t, "DR.loadBalancer.simple", func(p *egress.Pod) {
			pair(p, c.weights, c.policy)
			for _, v := range egress.Versions {
				if got := toOne(p, 400, v); got < c.least || got > c.most {
					p.T.Errorf("%s, %s: %d of 400, want %d to %d", name, v, got, c.least, c.most)
				}
			}
		})
	}
}

// One server is busy: of two draws it must be both. In turn it has its half.
func TestLoadBalancerLeastRequest(t *testing.T) {
	t.Parallel()
	for simple, most := range map[string]int{"LEAST_REQUEST": 143, "LEAST_CONN": 143, "ROUND_ROBIN": 201} {
		row(t, "DR.loadBalancer.simple", func(p *egress.Pod) {
			release := pair(p, [2]string{"1", "1"}, "loadBalancer: {simple: "+simple+"}")
			busy := make(chan string, 1)
			waiting := make(chan struct{})
			go func() {
				close(waiting)
				busy <- p.Ask(egress.Request{URL: "http://both.test/hold"}).Server.At
			}()
			<-waiting
			await.True(p.T, "a server is busy", func() bool {
				return len(p.Net.Seen("one.test"))+len(p.Net.Seen("two.test")) > 0
			})
			n := toOne(p, 400, egress.HTTP1)
			release()
			if <-busy != p.Net.Lookup("one.test", "IPv4")+":80" {
				n = 400 - n
			}
			if least := most - 86; n > most || n < least && simple != "ROUND_ROBIN" || simple == "ROUND_ROBIN" && n < 199 {
				p.T.Errorf("%s: the busy server has %d of 400, want %d to %d", simple, n, least, most)
			}
		})
	}
}

func TestLoadBalancerPassthrough(t *testing.T) {
	t.Parallel()
	row(t, "DR.loadBalancer.simple.PASSTHROUGH", func(p *egress.Pod) {
		pair(p, [2]string{"1", "1"}, "loadBalancer: {simple: PASSTHROUGH}")
		p.Net.Web("stranger.test", 80, nil)
		for _, v := range egress.Versions {
			for _, host := range []string{"one.test", "two.test"} {
				for range 4 {
					p.Ask(egress.Request{URL: "http://both.test/", At: p.Net.Lookup(host, "IPv4") + ":80", Version: v}).Want("200 " + host)
				}
			}
			if a := p.Ask(egress.Request{URL: "http://both.test/", At: p.Net.Lookup("stranger.test", "IPv4") + ":80", Version: v}); a.Server.Name == "stranger.test" {
				p.T.Errorf("%s: it went to an address that is not the name's", v)
			}
		}
	})
}
