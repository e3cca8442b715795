package chart_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/mesh"
)

// mistakes are what people write that one object shows to be wrong by itself, with what is
// said of it; "" is said of what is right.
var mistakes = []struct{ kind, spec, says string }{
	{"ServiceEntry", "{hosts: [a.test, '*.b.test', A_B.test.], ports: [{number: 80, name: h, protocol: http}], resolution: NONE}", "not a DNS name; use labels"},
	{"ServiceEntry", "{hosts: [a.test, '*.b.test', xn--a-b.C.test.], ports: [{number: 80, name: http-1, protocol: http}, {number: 81, name: b, protocol: GRPC-Web}], addresses: [10.0.0.1, 10.0.0.0/8, '2001:db8::/32', '::', '::ffff:10.0.0.1', '::ffff:10.0.0.0/104', 'fe80::1'], resolution: NONE}", ""},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: HTPS}], resolution: DNS}", "not a protocol; use one of HTTP, "},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 80, name: p0, protocol: HTTP}, {number: 81, name: p1, protocol: HTTP2}, {number: 82, name: p2, protocol: GRPC}, {number: 83, name: p3, protocol: GRPC-WEB}, {number: 84, name: p4, protocol: HTTP_PROXY}, {number: 85, name: p5, protocol: HTTPS}, {number: 86, name: p6, protocol: TLS}, {number: 87, name: p7, protocol: TCP}, {number: 88, name: p8, protocol: MONGO}, {number: 89, name: p9, protocol: REDIS}, {number: 90, name: p10, protocol: MYSQL}, {number: 91, name: p11, protocol: tcp}], resolution: DNS}", ""},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 53, name: h, protocol: udp}], resolution: DNS}", "the proxy carries TCP only"},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 80, name: h}], resolution: DNS}", ""},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 80, name: h_1, protocol: HTTP}], resolution: DNS}", "not a name; use at most 63"},
	{"ServiceEntry", "{hosts: ['https://g.test/x'], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS}", "a URL where a DNS name is wanted; write g.test"},
	{"ServiceEntry", "{hosts: [g.test/x], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS}", "write it without the path"},
	{"ServiceEntry", "{hosts: ['g.test:443'], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS}", "a name with a port"},
	{"ServiceEntry", "{hosts: [203.0.113.10], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS}", "an address is not a host"},
	{"ServiceEntry", "{hosts: ['2001:db8::1'], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS}", "an address is not a host"},
	{"ServiceEntry", "{hosts: [203.0.113.300], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS}", ""},
	{"ServiceEntry", "{hosts: ['*.a.test'], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS}", "a wildcard has no address to look up"},
	{"ServiceEntry", "{hosts: ['*.a.test'], ports: [{number: 443, name: h, protocol: TLS}], resolution: DNS, endpoints: [{address: b.test}]}", ""},
	{"ServiceEntry", "{hosts: ['*.a.test'], ports: [{number: 443, name: h, protocol: TLS}], resolution: DYNAMIC_DNS}", ""},
	{"ServiceEntry", "{hosts: ['*.a.test'], ports: [{number: 443, name: h, protocol: TCP}], resolution: NONE}", "a TCP connection carries no name to compare"},
	{"ServiceEntry", "{hosts: ['*.a.test'], ports: [{number: 443, name: h, protocol: TCP}], resolution: NONE, addresses: [192.0.2.1]}", ""},
	{"ServiceEntry", "{hosts: [a.test, b.test], ports: [{number: 443, name: h, protocol: Mongo}], resolution: DNS}", "cannot tell several hosts apart"},
	{"ServiceEntry", "{hosts: [a.test, b.test], ports: [{number: 443, name: h}], resolution: DNS}", "cannot tell several hosts apart"},
	{"ServiceEntry", "{hosts: [a.test, b.test], ports: [{number: 443, name: h, protocol: TCP}], resolution: NONE}", ""},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: STATIC}", "is empty under resolution STATIC"},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: STATIC, endpoints: [{address: b.test}]}", "use resolution DNS for names"},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: STATIC, endpoints: [{address: 192.0.2.1}, {address: '2001:db8::1', ports: {other: 8443}}]}", "no port of spec.ports has this name"},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: STATIC, endpoints: [{address: 192.0.2.1}, {address: '2001:db8::1', ports: {h: 8443}}]}", ""},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: NONE, addresses: [10.0.0.0/33]}", "not an address or range"},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: NONE, addresses: [10.0.0]}", "not an address or range"},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: NONE, addresses: [b.test]}", "not an address or range"},
	{"ServiceEntry", "{hosts: [a.test], ports: [{number: 443, name: h, protocol: TLS}], resolution: NONE, addresses: ['2001:db8::/129']}", "not an address or range"},

	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 2, retryOn: '4xx,503'}, route: [{destination: {host: a.test}}]}]}", "not a condition; "},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 2, retryOn: 'whenever'}, route: [{destination: {host: a.test}}]}]}", "not a condition; use HTTP statuses and "},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 2, retryOn: '5xx, reset'}, route: [{destination: {host: a.test}}]}]}", "write reset"},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 2, retryOn: '5xx,,reset'}, route: [{destination: {host: a.test}}]}]}", "remove the comma"},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 2, retryOn: '5xx,700'}, route: [{destination: {host: a.test}}]}]}", "use 100 to 599"},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 2, retryOn: '5xx,503,gateway-error,reset-before-request', perTryTimeout: 1s}}]}", ""},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {retryOn: 5xx}, route: [{destination: {host: a.test}}]}]}", "that attempts 0 switches off"},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 0, perTryTimeout: 1s}, route: [{destination: {host: a.test}}]}]}", "that attempts 0 switches off"},
	{"VirtualService", "{hosts: [a.test], http: [{retries: {attempts: 0}, route: [{destination: {host: a.test}}]}]}", ""},
	{"VirtualService", "{hosts: [a.test], http: [{}, {route: [{destination: {host: a.test}, weight: -1}, {destination: {host: b.test}, weight: 101}]}]}", "is negative"},
	{"VirtualService", "{hosts: [a.test], http: [{route: [{destination: {host: a.test}}, {destination: {host: b.test}}]}]}", "gives every destination the weight 0"},
	{"VirtualService", "{hosts: [a.test], tcp: [{route: [{destination: {host: a.test}, weight: 0}, {destination: {host: b.test}, weight: 0}]}]}", "gives every destination the weight 0"},
	{"VirtualService", "{hosts: [a.test], http: [{route: [{destination: {host: a.test}, weight: 250}, {destination: {host: b.test}}]}]}", ""},
	{"VirtualService", "{hosts: [a.test], http: [{route: [{destination: {host: a.test, port: {number: 70000}}}]}]}", "not a port; use 1 to 65535"},
	{"VirtualService", "{hosts: [a.test], tls: [{match: [{sniHosts: [b.test]}], route: [{destination: {host: a.test}}]}]}", "not one of spec.hosts"},
	{"VirtualService", "{hosts: ['*.a.test'], tls: [{match: [{sniHosts: [x.a.test, '*.b.a.test', a.test]}], route: [{destination: {host: a.test}}]}]}", "not one of spec.hosts"},
	{"VirtualService", "{hosts: [B.test, '*.a.test.'], tls: [{match: [{sniHosts: [x.A.test, '*.b.a.test', '*.a.test', b.test.]}], route: [{destination: {host: a.test, port: {number: 443}}}]}]}", ""},
	{"VirtualService", "{hosts: ['http://a.test'], http: [{route: [{destination: {host: a.test}}]}]}", "a URL where a DNS name is wanted"},
	{"VirtualService", "{hosts: [192.0.2.1, '2001:db8::1'], http: [{route: [{destination: {host: a.test}}]}]}", ""},

	{"DestinationRule", "{host: 'a.test:443'}", "a name with a port"},
	{"DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: MUTUAL}}}", "is missing; mode MUTUAL presents a certificate"},
	{"DestinationRule", "{host: a.test, trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: MUTUAL, clientCertificate: /c.pem}}]}}", "is missing; mode MUTUAL presents a certificate"},
	{"DestinationRule", "{host: a.test, subsets: [{name: v1}, {name: v2, trafficPolicy: {tls: {mode: MUTUAL, privateKey: /k.pem}}}]}", "is missing; mode MUTUAL presents a certificate"},
	{"DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: MUTUAL, credentialName: c}}}", ""},
	{"DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: SIMPLE, clientCertificate: /c.pem}}}", "mode SIMPLE presents no certificate"},
	{"DestinationRule", "{host: a.test, trafficPolicy: {tls: {sni: a.test}}}", "mode DISABLE speaks no TLS"},
	{"DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: SIMPLE, sni: '*.a.test'}}}", "a wildcard cannot be sent as SNI"},
	{"DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c, caCertificates: /ca.pem}}}", "cannot be together with credentialName"},
	{"DestinationRule", "{host: a.test, trafficPolicy: {portLevelSettings: [{port: {number: 0}, tls: {mode: SIMPLE}}]}}", "not a port; use 1 to 65535"},

	{"Sidecar", "{egress: [{hosts: ['./*', a.test]}]}", "has no namespace; write */a.test, "},
	{"Sidecar", "{egress: [{hosts: ['./*', '*/a.test', '~/*', shop/b.test]}]}", ""},
	{"Sidecar", "{egress: [{hosts: ['./*']}, {hosts: [shop/b.test]}]}", "put all hosts into spec.egress[0]"},
}

var (
	place      = regexp.MustCompile(`\[\d+\]`)
	didYouMean = regexp.MustCompile(`did you mean .*`)
)

// inMesh is what mesh says of a resource by itself, as a policy has it: of no one place in a
// list.
func inMesh(object string) []string {
	resources, issues := mesh.Decode("", []byte(object), mesh.DecodeOptions{})
	_, more := mesh.Assemble(resources, mesh.Options{})
	var all []string
	for _, i := range append(issues, more...) {
		if i.Severity == mesh.Notice {
			continue
		}
		field := place.ReplaceAllString(i.Field, "[]")
		if i.Value != "" {
			field += fmt.Sprintf(" %q", i.Value)
		}
		all = append(all, field+": "+i.Message)
	}
	return all
}

// warnsInTheWordsOfMesh gives mistakes to mesh and to the API server: what either says of
// them is the same, and neither says more of what is right. Only that mesh knows the word
// that was meant, which is not asked of CEL.
func warnsInTheWordsOfMesh(t *testing.T, s *apiserver.Server) {
	var all strings.Builder
	objects := make([]string, len(mistakes))
	for i, m := range mistakes {
		objects[i] = fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: %s\nmetadata: {name: m%d, namespace: shop}\nspec: %s\n", m.kind, i, m.spec)
		all.WriteString("---\n" + objects[i])
	}
	out, err := kubectl(s, all.String(), "apply", "--server-side", "--dry-run=server", "-f", "-")
	if err != nil {
		t.Fatal(out)
	}
	judge(t, objects, out)
}

// judge compares what kubectl wrote, a line for each object and before it what was said of it.
func judge(t *testing.T, objects []string, out string) {
	for i, m := range mistakes {
		said, rest, done := strings.Cut(out, fmt.Sprintf("/m%d serverside-applied", i))
		if !done {
			t.Fatalf("what is said of %s is not there:\n%s", objects[i], out)
		}
		out = rest
		found := inMesh(objects[i])
		words := strings.Join(found, "\n")
		if (len(found) > 0) != (m.says != "") || !strings.Contains(didYouMean.ReplaceAllString(words, ""), m.says) {
			t.Errorf("%s %s: mesh says %q, not %q", m.kind, m.spec, words, m.says)
		}
		if strings.Contains(said, "Warning: ") != (m.says != "") || !strings.Contains(said, m.says) {
			t.Errorf("%s %s: the API server says %q, not %q", m.kind, m.spec, said, m.says)
		}
		for _, warning := range regexp.MustCompile(`(?m)^Warning: .*?: sluice: (.*)$`).FindAllStringSubmatch(said, -1) {
			known := false
			for _, f := range found {
				known = known || warning[1] == f || strings.HasPrefix(warning[1], didYouMean.ReplaceAllString(f, "use HTTP statuses and ")) && didYouMean.MatchString(f)
			}
			if !known {
				t.Errorf("%s %s: the API server says %q, which mesh does not:\n%s", m.kind, m.spec, warning[1], words)
			}
		}
	}
}
