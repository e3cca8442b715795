package demo

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/ca"
	"github.com/sluice-cni/sluice/internal/lab"
)

// upstream is everything that listens outside the pod. It notes what arrives,
// which is the demo's evidence.
type upstream struct {
	mu       sync.Mutex
	arrived  []arrival
	services map[string]netip.Addr // the cluster's names, as they are now
}

// arrival is one connection or request that reached a server.
type arrival struct {
	server string // the name the server stands for
	from   netip.AddrPort
	sni    string // "" without TLS
	host   string // the request's Host, "" when it was no HTTP
}

// caFile has the authority behind the internet's servers, which lives as long as the
// demo: the proxy trusts it through SSL_CERT_FILE.
func caFile() string { return filepath.Join(root, "ca.pem") }

// openServices starts the servers of the internet and of the cluster.
func (w *world) openServices() error {
	authority, err := ca.New("sluice demo authority")
	if err != nil {
		return err
	}
	if err := os.WriteFile(caFile(), authority.PEM(), 0o644); err != nil {
		return err
	}
	certificate, err := authority.Issue(hostGoogle)
	if err != nil {
		return err
	}
	w.upstream = &upstream{services: map[string]netip.Addr{}}
	secure := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	return errors.Join(
		w.serveHTTP(w.internet, addrHTTPBin, "80", hostHTTPBin, HTTPBin(), nil),
		w.serveHTTP(w.internet, addrGoogle, "80", hostGoogle, page("A search page, in plain HTTP."), nil),
		w.serveHTTP(w.internet, addrGoogle, "443", hostGoogle, page("A search page, over HTTPS."), secure),
		w.serveHTTP(w.cluster, netip.IPv4Unspecified(), "80", "the cluster", page("A service of the cluster."), nil),
		w.serveDatabase(),
		w.serveDNS(),
	)
}

func (w *world) listen(n *lab.Namespace, a netip.Addr, port string) (net.Listener, error) {
	l, err := n.Listen("tcp4", net.JoinHostPort(a.String(), port))
	if err == nil {
		w.later(func() error { l.Close(); return nil })
	}
	return l, err
}

func (w *world) serveHTTP(n *lab.Namespace, a netip.Addr, port, name string, h http.Handler, secure *tls.Config) error {
	l, err := w.listen(n, a, port)
	if err != nil {
		return err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	server := &http.Server{
		Handler:           w.upstream.note(name, h),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          quiet,
	}
	go server.Serve(l)
	w.later(server.Close)
	return nil
}

// note records every request that reaches h.
func (u *upstream) note(server string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		a := arrival{server: server, from: from, host: r.Host}
		if r.TLS != nil {
			a.sni = r.TLS.ServerName
		}
		u.add(a)
		h.ServeHTTP(rw, r)
	})
}

func (u *upstream) add(a arrival) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.arrived = append(u.arrived, a)
}

// since returns what arrived after the first n.
func (u *upstream) since(n int) []arrival {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]arrival(nil), u.arrived[n:]...)
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.arrived)
}

const greeting = "a database that speaks no HTTP and speaks first"

// serveDatabase greets and closes: a protocol that no proxy can guess.
func (w *world) serveDatabase() error {
	l, err := w.listen(w.internet, addrDatabase, "27017")
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
			w.upstream.add(arrival{server: hostDatabase, from: from})
			c.SetDeadline(time.Now().Add(5 * time.Second))
			c.Write([]byte(greeting + "\n"))
			c.Close()
		}
	}()
	return nil
}

// serveDNS answers for the internet and, as the pod's own resolver would, for
// the cluster.
func (w *world) serveDNS() error {
	packets, err := w.internet.ListenPacket("udp4", net.JoinHostPort(addrDNS.String(), "53"))
	if err != nil {
		return err
	}
	stream, err := w.listen(w.internet, addrDNS, "53")
	if err != nil {
		return errors.Join(err, packets.Close())
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: w.upstream}, {Listener: stream, Handler: w.upstream}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		failed := make(chan error, 1)
		go func() { failed <- s.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-failed:
			return err
		}
		w.later(s.Shutdown)
	}
	return nil
}

// ServeDNS implements dns.Handler.
func (u *upstream) ServeDNS(rw dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		rw.WriteMsg(m)
		return
	}
	name := q.Question[0].Name
	address, ok := u.lookup(strings.ToLower(strings.TrimSuffix(name, ".")))
	switch {
	case !ok:
		m.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
			A:   address.AsSlice(),
		}}
	}
	rw.WriteMsg(m)
}

func (u *upstream) lookup(name string) (netip.Addr, bool) {
	switch name {
	case hostHTTPBin:
		return addrHTTPBin, true
	case hostGoogle:
		return addrGoogle, true
	case hostDatabase:
		return addrDatabase, true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	a, ok := u.services[name]
	return a, ok
}

// move gives the cluster's services the addresses they have with a provider.
func (u *upstream) move(p provider) {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.services)
	for i, a := range p.services {
		u.services[serviceHosts[i]] = netip.MustParseAddr(a)
	}
}
