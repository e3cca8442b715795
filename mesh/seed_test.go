package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// seedSums are of the three documents that the page "Control Egress Traffic" has
// its reader type, without the page's own indentation.
var seedSums = map[string]string{
	"httpbin-ext-serviceentry.yaml":   "45133420e598bfacc04a4d2237d8847132ad152dce7f60d0e0e0059c358b4120",
	"google-ext.yaml":                 "2aa389974c4785fe65178afbedd4257354e7323fc81347f66a46a63dd4117892",
	"httpbin-ext-virtualservice.yaml": "d44a7fdbe358807be85bd0cf2efee520b02852932eefb2c1b134f9b9cf726f56",
}

func readSeed(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "seed", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSeedFixturesAreThePageToTheLetter(t *testing.T) {
	t.Parallel()
	for name, want := range seedSums {
		sum := sha256.Sum256(readSeed(t, name))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s has the sum %s, want %s", name, got, want)
		}
	}
}

func TestSeedHasOnlyDeprecationNotices(t *testing.T) {
	t.Parallel()
	want := map[string]int{
		"httpbin-ext-serviceentry.yaml":   2, // protocol, resolution
		"google-ext.yaml":                 3, // the same and the rule's name
		"httpbin-ext-virtualservice.yaml": 1, // no destination
	}
	for name := range seedSums {
		resources, issues := Decode(name, readSeed(t, name), DecodeOptions{})
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
	for name := range seedSums {
		decoded, _ := Decode(name, readSeed(t, name), DecodeOptions{})
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
