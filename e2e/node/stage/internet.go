package stage

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/internal/ca"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// Addresses of the internet. All but Free are within Captured.
const (
	Captured = "192.0.2.0/24"
	Web      = "192.0.2.10" // HTTP at 80, TLS at 443: registered
	Database = "192.0.2.20" // lines that come back at 5432: registered
	Resolver = "192.0.2.53" // DNS
	Hidden   = "192.0.2.66" // at 9999: nobody registers it, so nobody may arrive
	Free     = "198.51.100.10"
)

// Names of registered services.
const WebName, TLSName, DatabaseName = "web.example", "tls.example", "database.example"

// StreamName is what long connections to the database send first.
const StreamName = "stream"

// Internet is a namespace with servers, one cable away from the node.
type Internet struct {
	NS *lab.Namespace
	// Leaked counts connections and requests that no proxy would have let pass.
	Leaked atomic.Int64
	// Streams counts the open connections to the database that began with StreamName.
	Streams atomic.Int64
	t       testing.TB
}

func newInternet(t testing.TB, node *lab.Namespace) *Internet {
	t.Helper()
	n := &Internet{NS: labtest.New(t), t: t}
	must(t, lab.Connect(
		lab.End{In: node, Name: "uplink", Addresses: prefixes("172.30.0.2/24")},
		lab.End{In: n.NS, Name: "node", Addresses: prefixes("172.30.0.1/24")}))
	// The namespace's end would take the cable away too, but only some time later.
	t.Cleanup(func() { must(t, node.Do(func() error { return cut("uplink") })) })
	must(t, node.Do(func() error {
		if err := lab.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
		return lab.AddRoute("uplink", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("172.30.0.1"))
	}))
	must(t, n.NS.Do(func() error {
		for _, a := range []string{Web, Database, Resolver, Hidden, Free} {
			if err := lab.AddAddress("lo", netip.MustParsePrefix(a+"/32")); err != nil {
				return err
			}
		}
		// Ten thousands of short connections leave as many addresses and ports waiting.
		return lab.AddRoute("node", netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("172.30.0.2"))
	}))
	n.serve()
	return n
}

func (n *Internet) serve() {
	n.http(Web, nil)
	n.http(Free, nil)
	n.http(Web, certificate(n.t))
	n.lines(n.listen(Database, "5432"), func(c net.Conn) {
		in := bufio.NewReader(c)
		if first, _ := in.Peek(len(StreamName)); string(first) == StreamName {
			n.Streams.Add(1)
			defer n.Streams.Add(-1)
		}
		io.Copy(c, in)
	})
	n.lines(n.listen(Hidden, "9999"), func(net.Conn) { n.Leaked.Add(1) })
	n.dns()
}

func (n *Internet) listen(address, port string) net.Listener {
	n.t.Helper()
	l, err := n.NS.Listen("tcp", net.JoinHostPort(address, port))
	must(n.t, err)
	return l
}

// http answers with the Host that was asked for. Only registered ones may be; at Free
// all are.
func (n *Internet) http(address string, secure *tls.Config) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if address != Free && r.Host != WebName && r.Host != TLSName {
			n.Leaked.Add(1)
		}
		io.WriteString(w, r.Host)
	})
	l := n.listen(address, map[bool]string{true: "443", false: "80"}[secure != nil])
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s := &http.Server{Handler: h, ErrorLog: quiet}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	n.t.Cleanup(func() { s.Close(); <-done })
}

func (n *Internet) lines(l net.Listener, serve func(net.Conn)) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	n.t.Cleanup(func() { l.Close() })
}

// dns knows every name in example by one address.
func (n *Internet) dns() {
	packets, err := n.NS.ListenPacket("udp", net.JoinHostPort(Resolver, "53"))
	must(n.t, err)
	s := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 30}, A: net.ParseIP(Web)}}
		}
		w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); s.ActivateAndServe() }()
	n.t.Cleanup(func() { packets.Close(); <-done })
}

func certificate(t testing.TB) *tls.Config {
	t.Helper()
	a, err := ca.New("stage")
	must(t, err)
	c, err := a.Issue(TLSName)
	must(t, err)
	return &tls.Config{Certificates: []tls.Certificate{c}}
}

func cut(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Resources register what may be reached.
const Resources = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [` + WebName + `]
  addresses: [` + Web + `]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: ` + Web + `}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: tls}
spec:
  hosts: [` + TLSName + `]
  addresses: [` + Web + `]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
  endpoints: [{address: ` + Web + `}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: database}
spec:
  hosts: [` + DatabaseName + `]
  addresses: [` + Database + `]
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: ` + Database + `}]
`

// More are n further registrations, so that there is something to hold.
func More(n int) string {
	var out []byte
	for i := range n {
		out = fmt.Appendf(out, "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: more-%d}\nspec:\n  hosts: [more-%d.example]\n  ports: [{number: 443, name: tls, protocol: TLS}]\n  resolution: DNS\n", i, i)
	}
	return string(out)
}
