package egress

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Version is a version of HTTP that an application speaks.
type Version string

// The versions. HTTP/2 in plain text is with prior knowledge.
const (
	HTTP1 Version = "HTTP/1.1"
	HTTP2 Version = "HTTP/2"
)

// Versions is for tests that go through both.
var Versions = []Version{HTTP1, HTTP2}

// Request is one of an application in the pod.
type Request struct {
	URL     string // http or https; the host is looked up in the Internet's names
	Method  string // default GET
	Version Version
	Header  map[string]string // Host is a field like any other
	Body    string
	At      string // the address and port to connect to; default the host's IPv4 address and the URL's port
	SNI     string // over https; default the host
}

// Answer is what came of a request or connection.
type Answer struct {
	Err    error // of the connection; everything else is empty then
	Status int
	Header http.Header
	Body   string
	Server Seen // what the server saw, empty where the proxy answered by itself

	p    *Pod
	what string
	mine func(Line) bool
}

// clients are kept for a whole test, so that later requests use the connections of
// earlier ones, as an application's do.
type clients struct {
	mu   sync.Mutex
	kept map[[3]string]*http.Client
	sent int

	connections atomic.Int32 // that Say and Handshake began
}

// Get asks for a URL over HTTP/1.1.
func (p *Pod) Get(url string) *Answer {
	p.T.Helper()
	return p.Ask(Request{URL: url})
}

// Ask sends a request. It never follows a redirect.
func (p *Pod) Ask(q Request) *Answer {
	p.T.Helper()
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var own string
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { own = i.Conn.LocalAddr().String() }})
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, strings.NewReader(q.Body))
	Must(p.T, err)
	for name, value := range q.Header {
		if strings.EqualFold(name, "Host") {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	client, id := p.client(q)
	r.Header.Set("X-Request-Id", id)
	a := &Answer{p: p, what: fmt.Sprintf("%s %s %s", q.Version, q.Method, q.URL), mine: func(l Line) bool {
		return l.RequestID == id || l.Method == "" && l.Source == own // of a connection that was not read as HTTP
	}}
	resp, err := client.Do(r)
	if err != nil {
		a.Err = err
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a.Err, a.Status, a.Header, a.Body = err, resp.StatusCode, resp.Header, string(body)
	a.read(resp.Header.Get(seenHeader))
	return a
}

func (a *Answer) read(seen string) {
	if seen == "" {
		return
	}
	text, err := strconv.Unquote(seen)
	Must(a.p.T, err)
	Must(a.p.T, json.Unmarshal([]byte(text), &a.Server))
}

// client is the one for a kind of request, and the request's id.
func (p *Pod) client(q Request) (*http.Client, string) {
	p.clients.mu.Lock()
	defer p.clients.mu.Unlock()
	p.clients.sent++
	id := "request-" + strconv.Itoa(p.clients.sent)
	key := [3]string{string(q.Version), q.At, q.SNI}
	if c := p.clients.kept[key]; c != nil {
		return c, id
	}
	t := &http.Transport{
		MaxIdleConnsPerHost: 1000, DisableCompression: true, Protocols: new(http.Protocols),
		TLSClientConfig: &tls.Config{RootCAs: p.Net.roots(), ServerName: q.SNI},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			if q.At != "" {
				address = q.At
			}
			return p.dial(ctx, net.Dialer{Control: withFirstBytes}, p.Net.numeric(address))
		},
	}
	t.Protocols.SetHTTP1(q.Version != HTTP2)
	t.Protocols.SetHTTP2(q.Version == HTTP2)
	t.Protocols.SetUnencryptedHTTP2(q.Version == HTTP2)
	p.T.Cleanup(t.CloseIdleConnections)
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if p.clients.kept == nil {
		p.clients.kept = map[[3]string]*http.Client{}
	}
	p.clients.kept[key] = c
	return c, id
}

// numeric makes an address out of a name and a port.
func (n *Internet) numeric(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) != nil {
		return address
	}
	return net.JoinHostPort(n.Lookup(host, "IPv4"), port)
}

// Say opens a connection to a name or address and a port, sends bytes, if any, and
// reads until the other side ends. Answer.Body is what it said.
func (p *Pod) Say(address, bytes string) *Answer {
	p.T.Helper()
	a := &Answer{p: p, what: "connection to " + address}
	p.open(a, p.Net.numeric(address), func(c net.Conn) error {
		if _, err := io.WriteString(c, bytes); err != nil {
			return err
		}
		got, err := io.ReadAll(c)
		a.Body = string(got)
		return err
	})
	return a
}

// Handshake opens TLS to a name or address and a port under a server name, which may
// be empty. Answer.Body is the first name of the certificate that was shown.
func (p *Pod) Handshake(address, sni string) *Answer {
	p.T.Helper()
	a := &Answer{p: p, what: fmt.Sprintf("TLS to %s as %q", address, sni)}
	p.open(a, p.Net.numeric(address), func(c net.Conn) error {
		s := tls.Client(c, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
		if err := s.Handshake(); err != nil {
			return err
		}
		a.Body = s.ConnectionState().PeerCertificates[0].Subject.CommonName
		return nil
	})
	return a
}

// open connects and notes what becomes of it.
func (p *Pod) open(a *Answer, address string, use func(net.Conn) error) {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, own, err := p.dialFrom(ctx, address)
	a.mine = func(l Line) bool { return l.Source == own }
	if err != nil { // a refusal can arrive while connect is still under way
		a.Err = err
		return
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	a.Err = use(c)
}

// dialFrom connects from an address that no other connection of the test has, so that
// the access log's line is found even where connect failed.
func (p *Pod) dialFrom(ctx context.Context, address string) (c net.Conn, own string, err error) {
	from := netip.MustParseAddr(Address)
	if strings.HasPrefix(address, "[") {
		from = netip.MustParseAddr(AddressIPv6)
	}
	for {
		local := netip.AddrPortFrom(from, uint16(firstPort+p.clients.connections.Add(1)))
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local)}
		c, err = p.dial(ctx, d, address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return c, local.String(), err
		}
	}
}

// dial connects to a numeric address.
func (p *Pod) dial(ctx context.Context, d net.Dialer, address string) (c net.Conn, err error) {
	err = p.NS.Do(func() error {
		c, err = d.DialContext(ctx, "tcp", address)
		return err
	})
	return c, err
}

// withFirstBytes has the last packet of TCP's handshake go with the connection's first
// bytes, if they come within 200 ms. The proxy takes a client for opaque that is silent
// for 100 ms, which is how late a test on a busy machine may run again after connect.
func withFirstBytes(_, _ string, raw syscall.RawConn) (err error) {
	failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0) })
	return errors.Join(failed, err)
}

// firstPort is below those that connections begin at by themselves.
const firstPort = 20000

// IsReset says that a connection was refused or cut without a word.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED)
}

// Line is the answer's line in the access log.
func (a *Answer) Line() Line {
	a.p.T.Helper()
	return a.p.find(fmt.Sprintf("%s (status %d, error %v)", a.what, a.Status, a.Err), a.mine)
}

// String says what came of it: "200 one.test" with the name of the server that
// answered, "504 UT upstream request timeout" with the flags and body of the proxy's
// own answer, "one.test" for what a server of opaque bytes said, "reset" for a
// connection that was refused or cut.
func (a *Answer) String() string {
	a.p.T.Helper()
	switch {
	case IsReset(a.Err):
		return "reset"
	case a.Err != nil:
		return a.Err.Error()
	case a.Status == 0:
		return a.Body
	case a.Server.Name != "":
		return fmt.Sprintf("%d %s", a.Status, a.Server.Name)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", a.Status, a.Line().Flags, a.Body))
}

// Want fails the test, and goes on, unless the answer's String is want.
func (a *Answer) Want(want string) *Answer {
	a.p.T.Helper()
	if got := a.String(); got != want {
		a.p.T.Errorf("%s: %s, want %s\n%s", a.what, got, want, a.Line().Text)
	}
	return a
}

// WantLine is Want for the access log: the flags and the cluster.
func (a *Answer) WantLine(flags, cluster string) *Answer {
	a.p.T.Helper()
	if l := a.Line(); l.Flags != flags || l.Cluster != cluster {
		a.p.T.Errorf("%s: flags %q, cluster %q; want %q, %q\n%s", a.what, l.Flags, l.Cluster, flags, cluster, l.Text)
	}
	return a
}
