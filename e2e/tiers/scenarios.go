package tiers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/egresspage"
)

// Scenario is what pods do and what must become of it.
type Scenario struct {
	Name string
	// Text is all of it, for docs/e2e.md.
	Text string
	run  func(*scene)
}

// Scenarios are all of them.
var Scenarios = []Scenario{
	{"unregistered", "A pod of a selected namespace asks for what nobody registers, from its first connection on: over HTTP it is answered 502, over TLS its connection is refused.", unregistered},
	{"registered", "What a ServiceEntry registers is served, and nothing else.", registered},
	{"rules", "The rules of \"Control Egress Traffic\": the proxy begins TLS for a request over HTTP, and gives up after the route's timeout.", seedsRules},
	{"comes and goes", "A ServiceEntry is deleted and made again while a request of minutes runs to its host: new requests are refused and served again, the one that runs comes to its end.", comesAndGoes},
	{"ranges", "What a pod's includeOutboundIPRanges do not have is left alone: it arrives as in a pod that nobody governs.", ranges},
	{"names", "With dnsCapture a name that only a ServiceEntry knows has an address and is served; other names are answered as ever, and one that nobody knows is not found.", names},
	{"selected while it runs", "A running pod's namespace is selected and let go, each time with a request and a stream of minutes under way: next connections are governed, then direct; what was under way comes to its end, and nothing of the pod starts anew.", selectedWhileItRuns},
	{"another agent", "An agent takes over from another while a pod makes requests and has one of minutes under way: none fails, and the pod stays governed.", anotherAgent},
	{"opts out", "A pod whose annotation says sluice.dev/inject: \"false\" is left alone in a selected namespace.", optsOut},
	{"opts in", "A pod whose annotation says sluice.dev/inject: \"true\" is governed from its first connection in a namespace that is not selected, and its neighbour is not.", optsIn},
	{"malformed", "A pod with an annotation that nobody can read does not start, and is told which one it is.", malformed},
}

// Run runs the scenarios of these names, or all where none is named, one after the other:
// what one registers, others could reach.
func Run(t *testing.T, in func(t *testing.T) Tier, names ...string) {
	for _, s := range Scenarios {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) { s.run(&scene{t: t, tier: in(t)}) })
	}
}

const (
	// plain is the status that httpbin.org's answer over HTTP has: 502 by the proxy where it
	// is not registered.
	plain = `curl -s -m 20 -o /dev/null -w '%{http_code}' http://httpbin.org/headers`
	// tls is the status of www.google.com's over TLS: 000 where the connection is refused.
	tls = `curl -sk -m 20 -o /dev/null -w '%{http_code}' https://www.google.com/ || :`
)

func unregistered(s *scene) {
	s.tier.Select(s.t, true)
	s.pod("first", nil).comesTo(plain, "502")
	// The selection is in force: this one's first connection is governed.
	p := s.pod("second", nil)
	p.is(plain, "502")
	p.is(tls, "000")
}

func registered(s *scene) {
	p := s.governed()
	s.apply(egresspage.HTTPBin)
	p.comesTo(plain, "200")
	if out := p.must("curl -s -m 20 http://httpbin.org/headers"); !strings.Contains(out, `"Host": "httpbin.org"`) {
		s.t.Errorf("httpbin.org was asked for by another name, or is another: %s", out)
	}
	p.is(tls, "000")
}

func seedsRules(s *scene) {
	p := s.governed()
	s.apply(egresspage.HTTPBin)
	// Istio's own definitions do not have spec.name any more.
	s.apply(strings.Replace(egresspage.Google, "\n  name: www.google.com", "\n  host: www.google.com", 1))
	p.comesTo(`curl -s -m 20 -o /dev/null -w '%{http_code}' http://www.google.com:443/`, "200")
	p.comesTo(plain, "200")
	s.apply(egresspage.Timeout)
	const slow = `curl -s -m 20 -o /dev/null -w '%{http_code}' http://httpbin.org/delay/5`
	p.comesTo(slow, "504")
	began := time.Now()
	p.is(slow, "504")
	if took := time.Since(began); took < 3*time.Second {
		s.t.Errorf("it gave up after %v, before the 3 s that the route says", took)
	}
}

func comesAndGoes(s *scene) {
	p := s.governed()
	s.apply(egresspage.HTTPBin)
	p.comesTo(plain, "200")
	stream := p.stream("stream")
	s.tier.Withdraw(s.t, egresspage.HTTPBin)
	p.comesTo(plain, "502")
	s.tier.Apply(s.t, egresspage.HTTPBin)
	p.comesTo(plain, "200")
	stream.ends("its registration came and went")
}

func ranges(s *scene) {
	s.governed()
	p := s.pod("elsewhere", map[string]string{"traffic.sidecar.istio.io/includeOutboundIPRanges": "198.18.0.0/15"})
	p.is(plain, "200")
	p.is(tls, "200")
}

// onlyHere registers a name that no DNS has, for httpbin.org.
const onlyHere = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: only-here}
spec:
  hosts: [only-here.sluice.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
  endpoints: [{address: httpbin.org}]
`

func names(s *scene) {
	s.governed()
	p := s.pod("asks", map[string]string{"sluice.dev/dnsCapture": "true"})
	const ask = `curl -s -m 20 -o /dev/null -w '%{http_code}' http://only-here.sluice.example/headers || :`
	p.is(ask, "000")
	s.apply(onlyHere)
	p.comesTo(ask, "200")
	p.must("getent hosts www.google.com")
	p.is("getent hosts nobody.sluice.example || echo not found", "not found")
}

func selectedWhileItRuns(s *scene) {
	s.apply(egresspage.HTTPBin)
	p := s.pod("runs", nil)
	before := p.Started()
	p.is(tls, "200")
	const slow = "http://httpbin.org/delay/5"

	request, stream := p.request("request-direct", slow), p.stream("stream-direct")
	s.tier.Select(s.t, true)
	p.comesTo(tls, "000")
	p.is(plain, "200")
	request.ends("the pod was selected")
	// This one lasts until the pod is let go again.
	governed, slower := p.stream("stream-governed"), p.request("request-governed", slow)
	s.tier.Select(s.t, false)
	p.comesTo(tls, "200")
	slower.ends("the pod was let go")
	governed.ends("the pod was let go")
	stream.ends("the pod was selected and let go")
	if after := p.Started(); after != before {
		s.t.Errorf("the pod was %q and is %q: something started anew", before, after)
	}
}

func anotherAgent(s *scene) {
	p := s.governed()
	s.apply(egresspage.HTTPBin)
	p.comesTo(plain, "200")
	stream := p.stream("stream")
	calls := p.start("calls", fmt.Sprintf("while [ ! -e %s-ends ]; do %s || :; echo; echo called >>%[1]s-log; sleep 0.1; done", "calls", plain))
	p.comesTo("cat calls-log", "called")
	s.tier.ReplaceAgent(s.t)
	p.must(": >calls-ends")
	out := calls.await()
	if failed := strings.Fields(strings.ReplaceAll(out, "200", "")); len(failed) > 0 || out == "" {
		s.t.Errorf("calls while another agent took over: %q failed of %q", failed, out)
	}
	stream.ends("another agent took over")
	p.is(tls, "000")
}

func optsOut(s *scene) {
	s.governed()
	p := s.pod("out", map[string]string{"sluice.dev/inject": "false"})
	p.is(plain, "200")
	p.is(tls, "200")
}

func optsIn(s *scene) {
	p := s.pod("in", map[string]string{"sluice.dev/inject": "true"})
	p.is(plain, "502")
	p.is(tls, "000")
	s.pod("neighbour", nil).is(plain, "200")
}

func malformed(s *scene) {
	s.governed()
	_, err := s.tier.Pod(s.t, "malformed", map[string]string{"sluice.dev/nonTCP": "perhaps"})
	if err == nil || !strings.Contains(err.Error(), "sluice.dev/nonTCP") {
		s.t.Errorf("%v; want it refused for its annotation sluice.dev/nonTCP", err)
	}
}
