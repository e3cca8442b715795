package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// What a pod may say to reach a stranger by a registered name, over connections
// that the kernel redirects. "own" is an answer of the registered name's own
// server; a number is the proxy's status; "reset" is a connection cut without an
// answer. The stranger, the metadata server and the pod's loopback hear nothing.

const liesYAML = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: own}
spec:
  hosts: [httpbin.org]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: below}
spec:
  hosts: ["*.wild.test"]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}, {number: 15001, name: loop, protocol: HTTP}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: google}
spec:
  hosts: [www.google.com]
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 80, name: http, protocol: HTTP, targetPort: 443}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: google}
spec:
  host: www.google.com
  trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, caCertificates: %s}}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  resolution: NONE
`

// Names below the registered wildcard, and what their owner's DNS says.
var wildNames = map[string][2]string{
	"a.wild.test":    {"203.0.113.10", "2001:db8::10"}, // where httpbin.org is, too
	"loop.wild.test": {"127.0.0.1", "::1"},
	"zero.wild.test": {"0.0.0.0", "::"},
	"meta.wild.test": {metadata, "fe80::a9fe:a9fe"},
	"nat.wild.test":  {metadata, "64:ff9b::a9fe:a9fe"},
}

const metadata = "169.254.169.254"

func request(lines ...string) string {
	return strings.Join(append(lines, "Connection: close"), "\r\n") + "\r\n\r\n"
}

var httpLies = []struct{ what, bytes, want string }{
	{"the truth about another's name", request("GET / HTTP/1.1", "Host: httpbin.org"), "own"},
	{"upper case", request("GET / HTTP/1.1", "Host: HTTPBin.ORG"), "own"},
	{"a trailing dot", request("GET / HTTP/1.1", "Host: httpbin.org."), "own"},
	{"two trailing dots", request("GET / HTTP/1.1", "Host: httpbin.org.."), "502"},
	{"a port", request("GET / HTTP/1.1", "Host: httpbin.org:80"), "own"},
	{"another port", request("GET / HTTP/1.1", "Host: httpbin.org:22"), "own"},
	{"a port that is none", request("GET / HTTP/1.1", "Host: httpbin.org:99999"), "400"},
	{"a port with a sign", request("GET / HTTP/1.1", "Host: httpbin.org:+80"), "400"},
	{"tabs around the name", request("GET / HTTP/1.1", "Host: \thttpbin.org\t"), "own"},
	{"a tab within it", request("GET / HTTP/1.1", "Host: httpbin.org\telsewhere.net"), "400"},
	{"a space within it", request("GET / HTTP/1.1", "Host: httpbin.org elsewhere.net"), "400"},
	{"NUL", request("GET / HTTP/1.1", "Host: httpbin.org\x00.elsewhere.net"), "400"},
	{"a bare CR", request("GET / HTTP/1.1", "Host: httpbin.org\rHost: elsewhere.net"), "400"},
	{"two names in one", request("GET / HTTP/1.1", "Host: httpbin.org,elsewhere.net"), "502"},
	{"two Hosts", request("GET / HTTP/1.1", "Host: httpbin.org", "Host: elsewhere.net"), "400"},
	{"one Host twice", request("GET / HTTP/1.1", "Host: httpbin.org", "Host: httpbin.org"), "400"},
	{"an empty Host", request("GET / HTTP/1.1", "Host:"), "400"},
	{"no Host", request("GET / HTTP/1.1"), "400"},
	{"no Host in 1.0", request("GET / HTTP/1.0"), "502"},
	{"a space before the colon", request("GET / HTTP/1.1", "Host: elsewhere.net", "Host : httpbin.org"), "400"},
	{"a folded Host", request("GET / HTTP/1.1", "Host: httpbin.org", " .elsewhere.net"), "400"},
	{"an encoded dot", request("GET / HTTP/1.1", "Host: httpbin%2eorg"), "400"},
	{"userinfo in Host", request("GET / HTTP/1.1", "Host: httpbin.org@elsewhere.net"), "400"},
	{"a path in Host", request("GET / HTTP/1.1", "Host: httpbin.org/elsewhere.net"), "400"},
	{"a backslash in Host", request("GET / HTTP/1.1", `Host: httpbin.org\elsewhere.net`), "400"},
	{"raw UTF-8", request("GET / HTTP/1.1", "Host: httpbın.org"), "400"},
	{"its punycode", request("GET / HTTP/1.1", "Host: xn--httpbn-q4a.org"), "502"},
	{"a name that ends in the registered one", request("GET / HTTP/1.1", "Host: xhttpbin.org"), "502"},
	{"a name below it", request("GET / HTTP/1.1", "Host: x.httpbin.org"), "502"},
	{"a name that begins with it", request("GET / HTTP/1.1", "Host: httpbin.org.elsewhere.net"), "502"},
	{"the stranger's address", request("GET / HTTP/1.1", "Host: 203.0.113.40"), "502"},
	{"the same as one number", request("GET / HTTP/1.1", "Host: 3405803816"), "502"},
	{"in octal", request("GET / HTTP/1.1", "Host: 0313.0.0161.050"), "502"},
	{"in hexadecimal", request("GET / HTTP/1.1", "Host: 0xcb007128"), "502"},
	{"as IPv6", request("GET / HTTP/1.1", "Host: [2001:db8::40]:80"), "502"},
	{"mapped into IPv6", request("GET / HTTP/1.1", "Host: [::ffff:203.0.113.40]"), "502"},
	{"with a zone", request("GET / HTTP/1.1", "Host: [fe80::1%25eth0]"), "400"},
	{"loopback", request("GET / HTTP/1.1", "Host: localhost"), "502"},
	{"absolute-form of the stranger under the name", request("GET http://elsewhere.net/ HTTP/1.1", "Host: httpbin.org"), "502"},
	{"absolute-form of the name under the stranger", request("GET http://httpbin.org/ HTTP/1.1", "Host: elsewhere.net"), "own"},
	{"absolute-form with https", request("GET https://elsewhere.net/ HTTP/1.1", "Host: httpbin.org"), "502"},
	{"absolute-form with userinfo", request("GET http://httpbin.org@elsewhere.net/ HTTP/1.1", "Host: httpbin.org"), "400"},
	{"absolute-form with a fragment", request("GET http://elsewhere.net#httpbin.org/ HTTP/1.1", "Host: httpbin.org"), "400"},
	{"absolute-form with another scheme", request("GET ftp://elsewhere.net/ HTTP/1.1", "Host: httpbin.org"), "400"},
	{"a path that looks like an authority", request("GET //elsewhere.net/ HTTP/1.1", "Host: httpbin.org"), "own"},
	{"CONNECT to the stranger", request("CONNECT elsewhere.net:80 HTTP/1.1", "Host: httpbin.org"), "404"},
	{"fields that other proxies obey", request("GET / HTTP/1.1", "Host: httpbin.org", "X-Envoy-Original-Dst-Host: 203.0.113.40:80",
		"X-Forwarded-Host: elsewhere.net", "Forwarded: host=elsewhere.net", "X-Host: elsewhere.net"), "own"},
	{"Host named by Connection", "GET / HTTP/1.1\r\nHost: httpbin.org\r\nConnection: host, close\r\n\r\n", "own"},
	{"a WebSocket", "GET / HTTP/1.1\r\nHost: httpbin.org\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "own"},
	{"an upgrade to h2c", "GET / HTTP/1.1\r\nHost: httpbin.org\r\nConnection: upgrade, http2-settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", "own"},
	{"a second request for the stranger", "GET / HTTP/1.1\r\nHost: httpbin.org\r\n\r\n" + request("GET / HTTP/1.1", "Host: elsewhere.net"), "own 502"},
	{"a second request after a refusal", "GET / HTTP/1.1\r\nHost: elsewhere.net\r\n\r\n" + request("GET / HTTP/1.1", "Host: httpbin.org"), "502 own"},
	{"a request within a body", "POST / HTTP/1.1\r\nHost: httpbin.org\r\nContent-Length: 58\r\n\r\n" + request("GET / HTTP/1.1", "Host: elsewhere.net"), "own"},
	{"a request behind two framings", "POST / HTTP/1.1\r\nHost: httpbin.org\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + request("GET / HTTP/1.1", "Host: elsewhere.net"), "400"},
	{"TLS's name in plain HTTP", request("GET / HTTP/1.1", "Host: elsewhere.net:443"), "502"},
	{"originated TLS", request("GET / HTTP/1.1", "Host: www.google.com"), "own"},
	{"another Host in originated TLS", request("GET / HTTP/1.1", "Host: elsewhere.net", "X-Sni: www.google.com"), "502"},
	{"absolute-form in originated TLS", request("GET https://www.google.com/ HTTP/1.1", "Host: elsewhere.net"), "own"},

	{"below the wildcard", request("GET / HTTP/1.1", "Host: A.Wild.Test."), "own"},
	{"the wildcard's bare domain", request("GET / HTTP/1.1", "Host: wild.test"), "502"},
	{"the wildcard itself", request("GET / HTTP/1.1", "Host: *.wild.test"), "502"},
	{"no such name below it", request("GET / HTTP/1.1", "Host: none.wild.test"), "503"},
	{"an empty label", request("GET / HTTP/1.1", "Host: a..wild.test"), "502"},
	{"a long label", request("GET / HTTP/1.1", "Host: "+strings.Repeat("a", 64)+".wild.test"), "502"},
	{"what is no host name", request("GET / HTTP/1.1", "Host: (a).wild.test"), "502"},
	{"the stranger's name below it", request("GET / HTTP/1.1", "Host: elsewhere.net.wild.test"), "503"},
	{"a name that leads to loopback", request("GET / HTTP/1.1", "Host: loop.wild.test"), "502"},
	{"a name that leads to no address", request("GET / HTTP/1.1", "Host: zero.wild.test"), "502"},
	{"a name that leads to metadata", request("GET / HTTP/1.1", "Host: meta.wild.test"), "502"},
	{"a name that leads to metadata through NAT64", request("GET / HTTP/1.1", "Host: nat.wild.test"), "502"},
}

func TestNoLieInHTTPReachesAStranger(t *testing.T) {
	t.Parallel()
	w := newLiars(t)
	for family, stranger := range w.strangers {
		for _, lie := range httpLies {
			if got := w.say(net.JoinHostPort(stranger, "80"), lie.bytes); got != lie.want {
				t.Errorf("%s, %s: %s, want %s", family, lie.what, got, lie.want)
			}
		}
		// The names' DNS and the destination may even agree.
		for name, addrs := range wildNames {
			if name == "a.wild.test" {
				continue
			}
			dst := addrs[map[string]int{"IPv4": 0, "IPv6": 1}[family]]
			if dst != metadata { // the others the kernel does not redirect: they are the pod's own
				continue
			}
			if got := w.say(net.JoinHostPort(dst, "80"), request("GET / HTTP/1.1", "Host: "+name)); got != "502" {
				t.Errorf("%s at %s: %s", name, dst, got)
			}
		}
	}
	if got := w.say(net.JoinHostPort(w.strangers["IPv4"], "15001"), request("GET / HTTP/1.1", "Host: loop.wild.test")); got != "502" {
		t.Errorf("a name that leads to the proxy's own port: %s", got)
	}
	if got := w.say("127.0.0.1:15001", request("GET / HTTP/1.1", "Host: httpbin.org")); got != "reset" {
		t.Errorf("the proxy's own port: %s", got)
	}
	w.nobodyHeard()
	log := w.Log.String()
	for _, want := range []string{
		"refused: not registered", "host=elsewhere.net", "host=203.0.113.40",
		"refused: the bytes have no single reading",
		"redirected: the destination is not an address of the registered name", "host=httpbin.org",
		"refused: DNS leads the registered name to an unsafe address", "meta.wild.test is " + metadata,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

func TestNoLieInTLSReachesAStranger(t *testing.T) {
	t.Parallel()
	w := newLiars(t)
	for family, stranger := range w.strangers {
		for _, lie := range []struct{ name, want string }{
			{"www.google.com", "own"},
			{"WWW.Google.com", "own"},
			{"www.google.com.", "own"},
			{"", "reset"},
			{"elsewhere.net", "reset"},
			{"xwww.google.com", "reset"},
			{"x.www.google.com", "reset"},
			{"www.google.com\x00.elsewhere.net", "reset"},
			{"www.goog\u0131e.com", "reset"},
			{"203.0.113.40", "reset"},
			{"wild.test", "reset"},
			{`elsewhere.net\.wild.test`, "reset"},
			{"elsewhere.net\x00.wild.test", "reset"},
			{"a..wild.test", "reset"},
			{"\u212aube.wild.test", "reset"},
			{"none.wild.test", "reset"},
			{"loop.wild.test", "reset"},
			{"meta.wild.test", "reset"},
			{"nat.wild.test", "reset"},
		} {
			for port, plain := range map[string]bool{"443": false, "80": true} {
				want := lie.want
				if plain && want == "own" {
					continue // TLS to a port of plain HTTP goes through as it is: to the name's own, too
				}
				if got := w.hello(net.JoinHostPort(stranger, port), lie.name); got != want {
					t.Errorf("%s, port %s, %q: %s, want %s", family, port, lie.name, got, want)
				}
			}
		}
		// Plain bytes on a port of TLS, and to a port of TCP whose name is elsewhere.
		for _, port := range []string{"443", "5432"} {
			if got := w.say(net.JoinHostPort(stranger, port), "\x00\x01SELECT 1"); got != "reset" {
				t.Errorf("%s, opaque bytes to port %s: %s", family, port, got)
			}
		}
	}
	w.nobodyHeard()
	log := w.Log.String()
	for _, want := range []string{"refused: not registered", "host=elsewhere.net", "refused: the destination is not an address of the registered name"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

func TestARefusalOfMismatchesIsAnOption(t *testing.T) {
	t.Parallel()
	w := newLiars(t, refuseMismatches)
	for family, stranger := range w.strangers {
		if got := w.say(net.JoinHostPort(stranger, "80"), request("GET / HTTP/1.1", "Host: httpbin.org")); got != "502" {
			t.Errorf("%s, sent elsewhere: %s", family, got)
		}
		if got := w.say(net.JoinHostPort(w.net.Lookup("httpbin.org", family), "80"), request("GET / HTTP/1.1", "Host: httpbin.org")); got != "own" {
			t.Errorf("%s, sent to the name's own address: %s", family, got)
		}
		if got := w.hello(net.JoinHostPort(stranger, "443"), "a.wild.test"); got != "reset" {
			t.Errorf("%s, TLS sent elsewhere: %s", family, got)
		}
	}
	w.nobodyHeard()
}

// liars is a pod whose application lies, and those it must not reach.
type liars struct {
	*pod
	strangers map[string]string
	heard     *hearers
}

func newLiars(t *testing.T, change ...podOption) *liars {
	t.Helper()
	w := &liars{pod: newPod(t, mesh.RegistryOnly, nil, change...), heard: newHearers(t)}
	w.strangers = map[string]string{"IPv4": w.net.Lookup("elsewhere.net", "IPv4"), "IPv6": w.net.Lookup("elsewhere.net", "IPv6")}
	for _, stranger := range w.strangers {
		for _, port := range []string{"80", "443", "15001"} {
			w.heard.listen(w.net.NS, net.JoinHostPort(stranger, port))
		}
	}
	w.heard.listen(w.net.NS, metadata+":80")
	for _, address := range []string{"127.0.0.1:80", "[::1]:80", "127.0.0.1:443", "[::1]:443"} {
		w.heard.listen(w.NS, address)
	}
	w.Write("lies.yaml", fmt.Sprintf(liesYAML, w.net.CA))
	await.True(t, "the entries are in force", func() bool {
		return w.say(net.JoinHostPort(w.net.Lookup("httpbin.org", "IPv4"), "80"), request("GET / HTTP/1.1", "Host: httpbin.org")) == "own"
	})
	return w
}

func (w *liars) nobodyHeard() {
	w.T.Helper()
	for _, who := range w.heard.all() {
		w.T.Errorf("%s was reached", who)
	}
	for _, stranger := range w.strangers {
		if n := w.net.Reached(stranger); n != 0 {
			w.T.Errorf("the stranger %s was reached %d times", stranger, n)
		}
	}
}

// say sends bytes and tells what came back: for each answer "own" or a status.
func (w *liars) say(address, text string) string {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	c, err := w.NS.Dial(ctx, "tcp", address)
	if isRefused(err) {
		return "reset"
	}
	must(w.T, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience))
	if _, err := io.WriteString(c, text); err == nil {
		c.(*net.TCPConn).CloseWrite()
	} else if !isRefused(err) {
		w.T.Fatal(err)
	}
	var got []string
	in := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			if len(got) == 0 && !errors.Is(err, io.EOF) {
				got = append(got, "reset")
			}
			return strings.Join(got, " ")
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return strings.Join(append(got, "cut"), " ")
		}
		switch {
		case resp.StatusCode == 200 && strings.Contains(string(body), "host="):
			got = append(got, "own")
		default:
			got = append(got, strconv.Itoa(resp.StatusCode))
		}
	}
}

// hello opens TLS under a server name, whatever its bytes are.
func (w *liars) hello(address, name string) string {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	c, err := w.NS.Dial(ctx, "tcp", address)
	if isRefused(err) {
		return "reset"
	}
	must(w.T, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience))
	client := tls.Client(&renamed{Conn: c, name: name}, &tls.Config{ServerName: placeholder(name), InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		if isRefused(err) {
			return "reset"
		}
		if !strings.Contains(err.Error(), "tls:") {
			return err.Error()
		}
		// A server's TLS spoke: that the handshake fails with bytes changed is no wonder.
	}
	return "own"
}
