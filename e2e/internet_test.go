package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// names of the internet, IPv4 and IPv6.
var names = map[string][2]string{
	"httpbin.org":    {"203.0.113.10", "2001:db8::10"},
	"www.google.com": {"203.0.113.20", "2001:db8::20"},
	"db.example.com": {"203.0.113.30", "2001:db8::30"},
	"elsewhere.net":  {"203.0.113.40", "2001:db8::40"},
}

// internet is one with servers that are told apart by their address.
type internet struct{ *egress.Internet }

// furnish gives an internet its names and servers.
func furnish(t *testing.T, bare *egress.Internet) *internet {
	t.Helper()
	n := &internet{bare}
	n.Name("metadata", metadata)
	for name, at := range names {
		n.Name(name, at[0], at[1])
	}
	for name, at := range wildNames {
		n.Record(name, netip.MustParseAddr(at[0]), netip.MustParseAddr(at[1]))
	}
	certificate := n.Certificate("www.google.com")
	web := http.HandlerFunc(n.httpbin)
	for _, family := range []int{0, 1} {
		for _, name := range []string{"httpbin.org", "elsewhere.net", "www.google.com"} {
			n.serveHTTP(t, net.JoinHostPort(names[name][family], "80"), web)
		}
		n.serveTLS(t, net.JoinHostPort(names["www.google.com"][family], "443"), certificate, web)
		for _, name := range []string{"db.example.com", "elsewhere.net"} {
			n.serveDatabase(net.JoinHostPort(names[name][family], "5432"))
		}
	}
	return n
}

func (n *internet) httpbin(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/delay/"); ok {
		seconds, _ := strconv.ParseFloat(rest, 64)
		select {
		case <-time.After(time.Duration(seconds * float64(time.Second))):
		case <-r.Context().Done():
		}
	}
	switch r.URL.Path {
	case "/count":
		countBytes(w, r)
		return
	case "/echo":
		echoFrames(w, r)
		return
	}
	sni := "plain"
	if r.TLS != nil {
		sni = r.TLS.ServerName
	}
	fmt.Fprintf(w, "host=%s sni=%s from=%s", r.Host, sni, r.RemoteAddr)
}

func (n *internet) serveHTTP(t *testing.T, address string, h http.Handler) {
	n.serveOn(t, n.Listen(address), h)
}

func (n *internet) serveTLS(t *testing.T, address string, c tls.Certificate, h http.Handler) {
	n.serveOn(t, tls.NewListener(n.Listen(address), &tls.Config{Certificates: []tls.Certificate{c}}), h)
}

func (n *internet) serveOn(t *testing.T, l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
}

// serveDatabase is a server that speaks first, as MySQL's does.
func (n *internet) serveDatabase(address string) {
	n.Serve(n.Listen(address), func(c net.Conn) { io.WriteString(c, "welcome to "+address) })
}
