// Package rows has a test for each row of Istio's API that sluice follows (mesh.Rows,
// docs/istio-compatibility.md), through real interception. It has tests only.
//
// A row's test looks like this, in a file named after the field:
//
//	func TestVirtualServiceRedirect(t *testing.T) {
//		t.Parallel()
//		row(t, "VS.http.redirect", func(p *egress.Pod) { // the id is a literal: it is looked for
//			p.Net.Web("old.test", 80, nil) // a server; nil answers 200
//			p.Apply(web("old.test") + `    // ServiceEntry (HTTP, port 80, DNS), then the rest
//	apiVersion: networking.istio.io/v1
//	kind: VirtualService
//	metadata: {name: old}
//	spec:
//	  hosts: [old.test]
//	  http: [{redirect: {authority: new.test}}]
//	`)
//			for _, v := range egress.Versions { // HTTP/1.1 and HTTP/2
//				a := p.Ask(egress.Request{URL: "http://old.test/x", Version: v})
//				if a.Want("301 -"); a.Header.Get("Location") != "http://new.test/x" {
//					p.T.Errorf("%s: %v", v, a.Header)
//				}
//			}
//		})
//	}
//
// `go test ./e2e/rows -run '/VS.http.redirect$'` runs the tests of that row. Several tests
// may be about one row, and rows may share a body.
//
// What there is to write with:
//
//   - Servers: p.Net.Web and WebTLS (HTTP/1.1 and HTTP/2, any handler), TCP (nil speaks
//     first); a host begins to exist, with an IPv4 and an IPv6 address and in DNS, when it
//     is first named. Record changes what DNS says. AskForCertificate and CertificateFor
//     are settings of WebTLS.
//   - Resources: p.Apply puts YAML in force before it returns, and returns what sluice says
//     about it; Offer is the same for YAML with errors. {{ca}}, {{cert "me"}}, {{key "me"}}
//     are files, {{crl "old.test"}} is a list that revokes what WebTLS shows for that host, {{v4 "old.test"}} and {{v6 "old.test"}} are addresses.
//   - Requests: p.Get, p.Ask (method, header, body, version, another address to connect
//     to, https), p.Say for opaque bytes, p.Handshake for a TLS server name. Requests of a
//     test share connections, as an application's do.
//   - Expectations: Answer.Want compares a short form ("200 one.test" is status and server;
//     "504 UT upstream request timeout" is the proxy's own answer with its flags; "reset").
//     Answer.Server is what the server saw: host, path, header, SNI, client certificate.
//     Answer.Line is the line of the access log, WantLine its flags and cluster.
//     p.Net.Seen are all requests that came to a host, p.Net.Connections counts
//     connections, p.Log is what the operator reads.
//
// rowWith takes egress.Options: ALLOW_ANY, the workload's namespace and labels, DNS capture
// (Rules: "dnsCapture": "true"), changes of proxy.Config.
package rows
