package mesh

import "testing"

func TestAnEgressProxyIsOneOfTheRegistered(t *testing.T) {
	t.Parallel()
	sidecar := func(to string) string {
		return "kind: Sidecar\nmetadata: {name: s}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {" + to + "}}}"
	}
	const rule = "trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: plain, trafficPolicy: {tls: {mode: DISABLE}}}]"
	for to, want := range map[string]struct {
		name, issue      string
		unknown, secured bool
	}{
		"host: proxy.com, port: {number: 3128}":                {"outbound|3128||proxy.com", "", false, true},
		"host: proxy.com, subset: plain, port: {number: 3128}": {"outbound|3128|plain|proxy.com", "", false, false},
		"host: other.com, port: {number: 3128}":                {"outbound|3128||other.com", "spec.outboundTrafficPolicy.egressProxy.host", true, false},
		"host: proxy.com, port: {number: 80}":                  {"outbound|80||proxy.com", "spec.outboundTrafficPolicy.egressProxy.port.number", true, false},
		"host: proxy.com, subset: x, port: {number: 3128}":     {"outbound|3128|x|proxy.com", "spec.outboundTrafficPolicy.egressProxy.subset", true, false},
	} {
		documents := join3(proxyEntry, proxyRule(rule), sidecar(to))
		wantIssue(t, documents, want.issue)
		e := view(t, documents).Egress
		if e == nil || e.For(false).Name != want.name || e.For(true).Name != want.name || e.Plain.Unknown != want.unknown || (e.Plain.TLS != nil) != want.secured || e.TLS.TLS != nil {
			t.Errorf("%s: %+v", to, e)
		}
	}
	if e := view(t, "kind: Sidecar\nmetadata: {name: s}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}").Egress; e != nil {
		t.Errorf("without one there is %+v", e)
	}
}
