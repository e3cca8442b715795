package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
)

// Seen is a request as a server saw it.
type Seen struct {
	Name   string // of the host whose address was reached
	At     string // the address and port that were reached
	Proto  string // HTTP/1.1, HTTP/2.0
	Method string
	Host   string
	Path   string // with the query, as it was sent
	Header http.Header
	TLS    bool
	SNI    string
	Client string // common name of the client's certificate
}

// Web serves HTTP at each of a host's addresses, over HTTP/1.1 and, with prior
// knowledge, HTTP/2. A nil handler answers 200 with nothing. Whatever the handler does,
// the answer tells its reader what the server saw (Answer.Server).
func (n *Internet) Web(name string, port int, h http.Handler) {
	n.t.Helper()
	for _, a := range n.Name(name) {
		n.serve(n.Listen(netip.AddrPortFrom(a, uint16(port)).String()), h, nil)
	}
}

// WebTLS is Web over TLS, with a certificate for the host. settings may change it, for
// instance to ask for a client's certificate (Internet.AskForCertificate); nil: as it is.
func (n *Internet) WebTLS(name string, port int, h http.Handler, settings ...func(*tls.Config)) {
	n.t.Helper()
	c := &tls.Config{Certificates: []tls.Certificate{n.Certificate(name)}, NextProtos: []string{"h2", "http/1.1"}}
	for _, set := range settings {
		set(c)
	}
	for _, a := range n.Name(name) {
		n.serve(n.Listen(netip.AddrPortFrom(a, uint16(port)).String()), h, c)
	}
}

// AskForCertificate makes a server refuse clients without a certificate of CA.
func (n *Internet) AskForCertificate(c *tls.Config) {
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, n.authority.Pool()
}

// CertificateFor makes a server show a certificate for other names than its own.
func (n *Internet) CertificateFor(names ...string) func(*tls.Config) {
	certificate := n.Certificate(names...)
	return func(c *tls.Config) { c.Certificates = []tls.Certificate{certificate} }
}

// Listen waits at an address and counts who comes.
func (n *Internet) Listen(address string) net.Listener {
	n.t.Helper()
	l, err := n.NS.Listen("tcp", address)
	Must(n.t, err)
	return counted{l, n}
}

type counted struct {
	net.Listener
	n *Internet
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Reach(c)
	}
	return c, err
}

func (n *Internet) serve(l net.Listener, h http.Handler, secure *tls.Config) {
	s := &http.Server{Handler: n.watch(h), ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols), TLSConfig: secure.Clone()}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if secure != nil {
			s.ServeTLS(l, "", "")
		} else {
			s.Serve(l)
		}
	}()
	n.t.Cleanup(func() { s.Close(); <-done })
}

// seenHeader carries what the server saw.
const seenHeader = "Seen-By-The-Server"

func (n *Internet) watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _ := netip.ParseAddrPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		s := Seen{
			Name: n.owner(at), At: at.String(), Proto: r.Proto, Method: r.Method,
			Host: r.Host, Path: r.RequestURI, Header: r.Header, TLS: r.TLS != nil,
		}
		if r.TLS != nil {
			s.SNI = r.TLS.ServerName
			for _, c := range r.TLS.PeerCertificates[:min(1, len(r.TLS.PeerCertificates))] {
				s.Client = c.Subject.CommonName
			}
		}
		n.mu.Lock()
		n.seen = append(n.seen, s)
		n.mu.Unlock()
		text, _ := json.Marshal(s)
		w.Header().Set(seenHeader, strconv.QuoteToASCII(string(text)))
		if h != nil {
			h.ServeHTTP(w, r)
		}
	})
}

// Seen are the requests that came to a host's HTTP servers.
func (n *Internet) Seen(name string) (out []Seen) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.seen {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// TCP serves connections at each of a host's addresses; serve's connection is closed
// when it returns. A nil serve speaks first: it sends the host's name and ends.
func (n *Internet) TCP(name string, port int, serve func(net.Conn)) {
	n.t.Helper()
	if serve == nil {
		serve = func(c net.Conn) { io.WriteString(c, name) }
	}
	for _, a := range n.Name(name) {
		n.Serve(n.Listen(netip.AddrPortFrom(a, uint16(port)).String()), serve)
	}
}

// Serve calls serve for each connection of a listener until the test ends.
func (n *Internet) Serve(l net.Listener, serve func(net.Conn)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				serve(c)
			}()
		}
	}()
	n.t.Cleanup(func() { cancel(); l.Close(); <-done })
}

// roots are the authorities that an application of the pod trusts.
func (n *Internet) roots() *x509.CertPool { return n.authority.Pool() }
