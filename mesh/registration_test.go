package mesh_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

func TestARegistrationRegistersWhatWasRefused(t *testing.T) {
	t.Parallel()
	dst := netip.MustParseAddr("203.0.113.7")
	for _, x := range []struct {
		host     string
		addr     netip.Addr
		port     uint16
		protocol mesh.Protocol
		found    func(l *mesh.Listener) bool
	}{
		{"httpbin.org", dst, 80, mesh.HTTP, func(l *mesh.Listener) bool { return l.MatchHTTP([]byte("httpbin.org")) != nil }},
		{"API.Example.com.", dst, 8080, mesh.HTTP, func(l *mesh.Listener) bool { return l.MatchHTTP([]byte("api.example.com")) != nil }},
		{"example.com", dst, 443, mesh.TLS, func(l *mesh.Listener) bool { return l.MatchTLS("example.com", dst) != nil }},
		{"203.0.113.7", dst, 80, mesh.HTTP, func(l *mesh.Listener) bool { return l.MatchHTTP([]byte("203.0.113.7")) != nil }},
		{"", dst, 5432, mesh.TCP, func(l *mesh.Listener) bool { return l.AddressedTCP(dst) != nil }},
		{"", netip.MustParseAddr("2001:db8::7"), 5432, mesh.TCP, func(l *mesh.Listener) bool {
			return l.AddressedTCP(netip.MustParseAddr("2001:db8::7")) != nil
		}},
		{strings.Repeat("a.", 120) + "example", dst, 80, mesh.HTTP, func(l *mesh.Listener) bool { return l != nil }},
	} {
		text := mesh.Registration(x.host, x.addr, x.port, x.protocol)
		resources, issues := mesh.Decode("stdin", []byte(text), mesh.DecodeOptions{})
		if issues.HasErrors() || len(resources) != 1 || strings.Contains(text, "\n") || strings.ContainsAny(text, `'"`) {
			t.Errorf("%q: %s\n%v", x.host, text, issues)
			continue
		}
		snapshot, issues := mesh.Build(resources, mesh.Options{})
		if l := snapshot.View(mesh.Workload{}).Listener(x.port); issues.HasErrors() || l == nil || !x.found(l) {
			t.Errorf("%q: %s does not register it: %v", x.host, text, issues)
		}
	}
}

// Namespaces may be called so, and kubectl takes no number, boolean or date for text.
func TestARegistrationsNamespaceIsText(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{
		"shop": "shop", "123": `"123"`, "1e3": `"1e3"`, "0x1f": `"0x1f"`, "true": `"true"`, "no": `"no"`, "y": `"y"`, "null": `"null"`, "2026-01-02": `"2026-01-02"`,
	} {
		w := mesh.Wanted{Namespace: namespace, Host: "a.example.com", Ports: []mesh.WantedPort{{Number: 80, Protocol: mesh.HTTP}}}
		_, text := w.Registration()
		if !strings.Contains(text, "\n  namespace: "+want+"\n") {
			t.Errorf("%s:\n%s", namespace, text)
		}
		if all, issues := mesh.Decode("stdin", []byte(text), mesh.DecodeOptions{}); len(all) != 1 || all[0].Namespace != namespace || issues.HasErrors() {
			t.Errorf("%s is read as %v: %v", namespace, all, issues)
		}
	}
}

func TestARegistrationNeverHoldsWhatAShellOrYAMLWouldRead(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"a'; rm -rf /; '.com", "$(id).com", "a b.com", "a\nb.com", "`id`.com", "*.com", "*", "localhost", "yes", "1.e5", "a..com",
		"x}, {y.com", "exämple.com", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 200) + "com", "-a.com", "a.1",
	} {
		if text := mesh.Registration(host, netip.MustParseAddr("203.0.113.7"), 80, mesh.HTTP); text != "" {
			t.Errorf("%q: %s", host, text)
		}
	}
}
