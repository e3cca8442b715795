package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

const liesHTTP2YAML = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: own}
spec:
  hosts: [httpbin.org]
  ports: [{number: 8080, name: grpc, protocol: GRPC}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: below}
spec:
  hosts: ["*.wild.test"]
  ports: [{number: 8080, name: grpc, protocol: GRPC}]
  resolution: NONE
`

// A list of fields as they are sent; "own" is an answer of the registered name's
// server, a number the proxy's status, "reset" a stream or connection that was ended.
var http2Lies = []struct {
	what   string
	fields []string
	want   string
}{
	{"the truth about another's name", []string{":authority: httpbin.org"}, "own"},
	{"upper case, a port, a trailing dot", []string{":authority: HTTPBin.ORG.:80"}, "own"},
	{"Host alone", []string{"host: httpbin.org"}, "own"},
	{"both alike", []string{":authority: httpbin.org", "host: httpbin.org"}, "own"},
	{"the stranger's :authority", []string{":authority: elsewhere.net"}, "502"},
	{"the stranger's Host alone", []string{"host: elsewhere.net"}, "502"},
	{"the name, and the stranger's Host", []string{":authority: httpbin.org", "host: elsewhere.net"}, "own or refused"},
	{"the stranger, and the name's Host", []string{":authority: elsewhere.net", "host: httpbin.org"}, "refused"},
	{"two :authority", []string{":authority: httpbin.org", ":authority: elsewhere.net"}, "refused"},
	{"two Hosts", []string{"host: httpbin.org", "host: elsewhere.net"}, "refused"},
	{"no name", nil, "refused"},
	{"an empty :authority", []string{":authority: "}, "refused"},
	{"userinfo", []string{":authority: httpbin.org@elsewhere.net"}, "refused"},
	{"an encoded dot", []string{":authority: httpbin%2eorg"}, "refused"},
	{"NUL", []string{":authority: httpbin.org\x00.elsewhere.net"}, "refused"},
	{"raw UTF-8", []string{":authority: httpbın.org"}, "refused"},
	{"an address", []string{":authority: 203.0.113.40:8080"}, "502"},
	{"an address as a number", []string{":authority: 3405803816"}, "502"},
	{"an address mapped into IPv6", []string{":authority: [::ffff:203.0.113.40]"}, "502"},
	{"a path to the stranger", []string{":authority: httpbin.org", ":path: //elsewhere.net/"}, "own"},
	{"an absolute path", []string{":authority: httpbin.org", ":path: http://elsewhere.net/"}, "own or refused"},
	{"CONNECT", []string{":method: CONNECT", ":authority: elsewhere.net:8080"}, "refused"},
	{"fields that other proxies obey", []string{":authority: httpbin.org", "x-envoy-original-dst-host: 203.0.113.40:8080", "x-forwarded-host: elsewhere.net"}, "own"},
	{"below the wildcard", []string{":authority: a.wild.test"}, "own"},
	{"what is no host name", []string{":authority: (a).wild.test"}, "502"},
	{"an empty label", []string{":authority: a..wild.test"}, "502"},
	{"a name that leads to loopback", []string{":authority: loop.wild.test"}, "502"},
	{"a name that leads to metadata", []string{":authority: meta.wild.test"}, "502"},
}

func TestNoLieInHTTP2ReachesAStranger(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, nil)
	heard := newHearers(t)
	for _, address := range []string{metadata + ":8080"} {
		heard.listen(p.net.NS, address)
	}
	for _, address := range []string{"127.0.0.1:8080", "[::1]:8080"} {
		heard.listen(p.NS, address)
	}
	for _, family := range []string{"IPv4", "IPv6"} {
		p.net.serveH2C(t, net.JoinHostPort(p.net.Lookup("httpbin.org", family), "8080"), http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Own", r.Host) }))
		heard.listen(p.net.NS, net.JoinHostPort(p.net.Lookup("elsewhere.net", family), "8080"))
	}
	p.Write("lies.yaml", liesHTTP2YAML)
	own := net.JoinHostPort(p.net.Lookup("httpbin.org", "IPv4"), "8080")
	await.True(t, "the entries are in force", func() bool { return p.stream(own, []string{":authority: httpbin.org"}) == "own" })
	for _, family := range []string{"IPv4", "IPv6"} {
		stranger := net.JoinHostPort(p.net.Lookup("elsewhere.net", family), "8080")
		for _, lie := range http2Lies {
			got := p.stream(stranger, lie.fields)
			refused := got == "reset" || got == "400" || got == "502" || got == "404"
			if got != lie.want && !(strings.HasSuffix(lie.want, "refused") && (refused || strings.HasPrefix(lie.want, got))) {
				t.Errorf("%s, %s: %s, want %s", family, lie.what, got, lie.want)
			}
		}
	}
	for _, who := range heard.all() {
		t.Errorf("%s was reached", who)
	}
}

// stream sends one request on a connection of its own and tells what became of it.
func (p *pod) stream(address string, fields []string) string {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	c, err := p.NS.Dial(ctx, "tcp", address)
	if isRefused(err) {
		return "reset"
	}
	must(p.T, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience))
	io.WriteString(c, http2.ClientPreface)
	frames := http2.NewFramer(c, c)
	frames.WriteSettings()
	frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock(fields), EndStream: true, EndHeaders: true})
	status, own := "", false
	decoder := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		switch f.Name {
		case ":status":
			status = f.Value
		case "x-own":
			own = true
		}
	})
	for status == "" {
		frame, err := frames.ReadFrame()
		switch f := frame.(type) {
		case nil:
			if errors.Is(err, io.EOF) || isRefused(err) {
				return "reset"
			}
			return err.Error()
		case *http2.SettingsFrame:
			if !f.IsAck() {
				frames.WriteSettingsAck()
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		case *http2.HeadersFrame:
			decoder.Write(f.HeaderBlockFragment())
		}
	}
	if own {
		return "own"
	}
	return status
}

// headerBlock writes fields as they stand, whatever they are; the usual
// pseudo-fields come first where none is given.
func headerBlock(fields []string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	given := fmt.Sprint(fields)
	write := func(name, value string) { encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	if !strings.Contains(given, ":method: ") {
		write(":method", "GET")
	}
	if !strings.Contains(given, "CONNECT") {
		write(":scheme", "http")
		if !strings.Contains(given, ":path: ") {
			write(":path", "/")
		}
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		write(name, value)
	}
	return block.Bytes()
}
