package rows

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// forwardProxy is a corporate proxy, which connects to two.test whatever it is asked for,
// unless that is denied.test; asked is what it was asked for.
func forwardProxy(p *egress.Pod, asked chan<- string) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		q, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		asked <- q.Method + " " + q.Host
		if strings.HasPrefix(q.Host, "denied.test:") {
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n")
			return
		}
		_, port, _ := net.SplitHostPort(q.Host)
		on, err := p.Net.NS.Dial(p.T.Context(), "tcp", net.JoinHostPort(p.Net.Lookup("two.test", "IPv4"), port))
		if err != nil {
			return
		}
		defer on.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(on, in); on.(*net.TCPConn).CloseWrite() }()
		io.Copy(c, on)
	}
}

func TestDestinationRuleTunnel(t *testing.T) {
	t.Parallel()
	row(t, "DR.tunnel", func(p *egress.Pod) {
		asked := make(chan string, 100)
		p.Net.Name("one.test")
		p.Net.WebTLS("two.test", 443, nil)
		p.Net.TCP("two.test", 9000, nil)
		p.Net.TCP("proxy.test", 3128, forwardProxy(p, asked))
		for _, a := range p.Net.Name("proxy.test") {
			l := p.Net.Listen(net.JoinHostPort(a.String(), "3129"))
			p.Net.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{p.Net.Certificate("proxy.test")}}), forwardProxy(p, asked))
		}
		through := func(proxyPort int, target, more string) {
			p.Apply(object("ServiceEntry", "one", `{hosts: [one.test], addresses: ['{{v4 "one.test"}}'], resolution: DNS,
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 9000, name: tcp, protocol: TCP}]}`) +
				object("ServiceEntry", "proxy", `{hosts: [proxy.test], resolution: DNS, ports: [{number: 3128, name: http, protocol: HTTP}, {number: 3129, name: https, protocol: HTTPS}]}`) +
				object("VirtualService", "one", strings.ReplaceAll(`{hosts: [one.test],
  tls: [{match: [{sniHosts: [one.test]}], route: [{destination: {host: proxy.test, subset: p443, port: {number: PORT}}}]}],
  tcp: [{route: [{destination: {host: proxy.test, subset: p9000, port: {number: PORT}}}]}]}`, "PORT", fmt.Sprint(proxyPort))) +
				object("DestinationRule", "proxy",
					strings.NewReplacer("TARGET", target, "MORE", more).Replace(`{host: proxy.test, subsets: [
  {name: p443, trafficPolicy: {tunnel: {protocol: CONNECT, targetHost: TARGET, targetPort: 443}MORE}},
  {name: p9000, trafficPolicy: {tunnel: {targetHost: TARGET, targetPort: 9000}MORE}}]}`)))
		}
		wantAsked := func(want string) {
			if got := <-asked; got != want {
				p.T.Errorf("the proxy was asked for %s, want %s", got, want)
			}
		}
		for port, more := range map[int]string{3128: "", 3129: ", tls: {mode: SIMPLE, caCertificates: {{ca}}}"} {
			through(port, "two.test", more)
			p.Handshake("one.test:443", "one.test").Want("two.test")
			wantAsked("CONNECT two.test:443")
			p.Say("one.test:9000", "").Want("two.test").WantLine("-", fmt.Sprintf("outbound|%d|p9000|proxy.test", port))
			wantAsked("CONNECT two.test:9000")
		}
		through(3128, "denied.test", "")
		p.Say("one.test:9000", "x").Want("reset").WantLine("UF,URX", "outbound|3128|p9000|proxy.test")
		wantAsked("CONNECT denied.test:9000")
		if text := p.Log.String(); !strings.Contains(text, "CONNECT denied.test:9000 with 403 Forbidden") {
			p.T.Errorf("the operator reads\n%s", text)
		}
	})
}
