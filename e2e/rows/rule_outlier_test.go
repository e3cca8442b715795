package rows

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
)

// team registers team.test with n servers, of which the first answers with a status as
// long as it is told to, under an outlier detection.
func team(p *egress.Pod, n int, outlier string) (bad *atomic.Int32) {
	bad = new(atomic.Int32)
	bad.Store(500)
	var endpoints []string
	for i := range n {
		host := fmt.Sprintf("s%d.test", i)
		p.Net.Web(host, 80, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if i == 0 {
				w.WriteHeader(int(bad.Load()))
			}
		}))
		endpoints = append(endpoints, `{address: {{v4 "`+host+`"}}}`)
	}
	p.Net.Name("team.test")
	p.Apply(object("ServiceEntry", "team", `{hosts: [team.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [`+strings.Join(endpoints, ", ")+`]}`) +
		object("DestinationRule", "team", `{host: team.test, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {`+outlier+`}}}`))
	return bad
}

// byStatus counts the answers to so many requests.
func byStatus(p *egress.Pod, n int, v egress.Version) map[string]int {
	count := map[string]int{}
	for range n {
		count[strings.Fields(p.Ask(egress.Request{URL: "http://team.test/", Version: v}).String())[0]]++
	}
	return count
}

func TestOutlierDetection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		servers int
		outlier string
		status  int
		asks    int
		bad     int // of that status
	}{
		"the default of five in a row":         {10, "baseEjectionTime: 5m", 500, 150, 5},
		"a number of its own":                  {10, "consecutive5xxErrors: 2, baseEjectionTime: 5m", 503, 100, 2},
		"10 % of nine is none":                 {9, "consecutive5xxErrors: 2, baseEjectionTime: 5m", 500, 90, 10},
		"a larger share":                       {9, "consecutive5xxErrors: 2, baseEjectionTime: 5m, maxEjectionPercent: 12", 500, 90, 2},
		"4xx is no failure":                    {10, "consecutive5xxErrors: 2, baseEjectionTime: 5m", 404, 100, 10},
		"gateway errors":                       {10, "consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, baseEjectionTime: 5m", 502, 100, 3},
		"500 is none of a gateway":             {10, "consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, baseEjectionTime: 5m", 500, 100, 10},
		"statuses of one's own":                {10, "consecutive5xxErrors: 3, outlierDetectionHttpErrorCodes: [429], baseEjectionTime: 5m", 429, 100, 3},
		"where they are others":                {10, "consecutive5xxErrors: 3, outlierDetectionHttpErrorCodes: [429], baseEjectionTime: 5m", 500, 100, 10},
		"answers are the server's, when split": {10, "consecutive5xxErrors: 3, splitExternalLocalOriginErrors: true, baseEjectionTime: 5m", 500, 100, 3},
		"none":                                 {10, "consecutive5xxErrors: 0, baseEjectionTime: 5m", 500, 100, 10},
	} {
		for _, v := range egress.Versions {
			row(t, "DR.outlierDetection", func(p *egress.Pod) {
				team(p, c.servers, c.outlier).Store(int32(c.status))
				got := byStatus(p, c.asks, v)
				if got[strconv.Itoa(c.status)] != c.bad || got["200"] != c.asks-c.bad {
					p.T.Errorf("%s, %s: %v, want %d of status %d", name, v, got, c.bad, c.status)
				}
			})
		}
	}
}

// A server that cannot be connected to is ejected: nobody's request has to find out.
func TestOutlierDetectionOfFailedConnections(t *testing.T) {
	t.Parallel()
	for _, outlier := range []string{"consecutive5xxErrors: 2", "consecutive5xxErrors: 0, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2"} {
		row(t, "DR.outlierDetection", func(p *egress.Pod) {
			p.Net.Name("down.test")
			p.Net.Web("up.test", 80, nil)
			p.Net.Name("team.test")
			p.Apply(object("ServiceEntry", "team", `{hosts: [team.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC,
  endpoints: [{address: {{v4 "down.test"}}}, {address: {{v4 "up.test"}}}]}`) +
				object("VirtualService", "team", `{hosts: [team.test], http: [{retries: {attempts: 0}, route: [{destination: {host: team.test}}]}]}`) +
				object("DestinationRule", "team", `{host: team.test, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {`+outlier+`, baseEjectionTime: 5m, maxEjectionPercent: 50}}}`))
			if got := byStatus(p, 40, egress.HTTP1); got["503"] != 2 || got["200"] != 38 {
				p.T.Errorf("%s: %v", outlier, got)
			}
		})
	}
}

// The last server may be ejected where the rule says so, and comes back by itself.
func TestOutlierDetectionOfTheLastServer(t *testing.T) {
	t.Parallel()
	for _, v := range egress.Versions {
		row(t, "DR.outlierDetection", func(p *egress.Pod) {
			bad := team(p, 1, "consecutive5xxErrors: 2, interval: 20ms, baseEjectionTime: 1s, maxEjectionPercent: 100")
			q := egress.Request{URL: "http://team.test/", Version: v}
			for range 2 {
				p.Ask(q).Want("500 s0.test")
			}
			for range 3 {
				p.Ask(q).Want("503 UH no healthy upstream").WantLine("UH", "outbound|80||team.test")
			}
			bad.Store(200)
			await.True(p.T, "it is back", func() bool { return p.Ask(q).Status == 200 })
		})
		row(t, "DR.outlierDetection", func(p *egress.Pod) {
			team(p, 1, "consecutive5xxErrors: 2, baseEjectionTime: 5m, maxEjectionPercent: 100, minHealthPercent: 50")
			for range 6 { // below that health all are used
				p.Ask(egress.Request{URL: "http://team.test/", Version: v}).Want("500 s0.test")
			}
		})
	}
}
