package mesh

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/egresspage"
)

// seedTexts are those of the page "Control Egress Traffic".
var seedTexts = map[string]string{
	"httpbin-ext.yaml":     egresspage.HTTPBin,
	"google-ext.yaml":      egresspage.Google,
	"httpbin-timeout.yaml": egresspage.Timeout,
}

func TestSeedHasOnlyDeprecationNotices(t *testing.T) {
	t.Parallel()
	want := map[string]int{
		"httpbin-ext.yaml":     2, // protocol, resolution
		"google-ext.yaml":      3, // the same and the rule's name
		"httpbin-timeout.yaml": 1, // no destination
	}
	for name, text := range seedTexts {
		resources, issues := Decode(name, []byte(text), DecodeOptions{})
		_, more := Build(resources, Options{Partial: true})
		issues = append(issues, more...)
		if n := len(issues.Of(Notice)); n != want[name] || n != len(issues) {
			t.Errorf("%s: want %d notices and nothing else, got\n%s", name, want[name], issues)
		}
	}
}

func TestSeedRoutesAsThePageSays(t *testing.T) {
	t.Parallel()
	var resources []*Resource
	for name, text := range seedTexts {
		decoded, _ := Decode(name, []byte(text), DecodeOptions{})
		resources = append(resources, decoded...)
	}
	s, issues := Build(resources, Options{})
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	v := s.View(Workload{Namespace: "default"})
	httpbin, _ := v.Listener(80).MatchHTTP([]byte("httpbin.org")).Match(request{path: "/delay/5"})
	if httpbin.Action.Timeout != 3*time.Second || httpbin.Destinations[0].Cluster.Name != "outbound|80||httpbin.org" {
		t.Errorf("httpbin.org: %+v", httpbin)
	}
	google, _ := v.Listener(443).MatchHTTP([]byte("www.google.com")).Match(request{path: "/"})
	cluster := google.Destinations[0].Cluster
	if cluster.TLS == nil || cluster.TLS.Mode != TLSSimple || google.Name != "default" || google.Action.Timeout != 0 {
		t.Errorf("www.google.com: %+v, %+v", google, cluster)
	}
	passed := v.Listener(443).MatchTLS("www.google.com", netip.Addr{})
	if passed == nil || passed.Destinations[0].Cluster.TLS != nil {
		t.Errorf("a ClientHello on a port declared HTTP goes through untouched: %+v", passed)
	}
	if vh := v.Listener(80).MatchHTTP([]byte("example.com")); vh != nil {
		t.Errorf("an unregistered host has routes: %+v", vh)
	}
}
