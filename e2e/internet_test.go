package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

const dnsAddress = "198.51.100.53"

// names of the internet, IPv4 and IPv6.
var names = map[string][2]string{
	"httpbin.org":    {"203.0.113.10", "2001:db8::10"},
	"www.google.com": {"203.0.113.20", "2001:db8::20"},
	"db.example.com": {"203.0.113.30", "2001:db8::30"},
	"elsewhere.net":  {"203.0.113.40", "2001:db8::40"},
}

// internet is a namespace with servers that are told apart by their address.
type internet struct {
	ns *lab.Namespace
	ca string // file of the authority behind www.google.com

	mu    sync.Mutex
	count map[string]int // connections by the address that was reached
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{ns: labtest.New(t), count: map[string]int{}}
	must(t, n.ns.Do(func() error {
		all := []string{dnsAddress + "/32", metadata + "/32"}
		for _, a := range names {
			all = append(all, a[0]+"/32", a[1]+"/128")
		}
		for _, p := range prefixes(all...) {
			if err := lab.AddAddress("lo", p); err != nil {
				return err
			}
		}
		return nil
	}))
	n.serveDNS(t)
	certificate := n.authority(t, "www.google.com")
	web := http.HandlerFunc(n.httpbin)
	for _, family := range []int{0, 1} {
		for _, name := range []string{"httpbin.org", "elsewhere.net", "www.google.com"} {
			n.serveHTTP(t, net.JoinHostPort(names[name][family], "80"), web)
		}
		n.serveTLS(t, net.JoinHostPort(names["www.google.com"][family], "443"), certificate, web)
		for _, name := range []string{"db.example.com", "elsewhere.net"} {
			n.serveDatabase(t, net.JoinHostPort(names[name][family], "5432"))
		}
	}
	return n
}

func (n *internet) lookup(name, family string) string {
	return names[name][map[string]int{"IPv4": 0, "IPv6": 1}[family]]
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
	l, err := n.ns.Listen("tcp", address)
	must(t, err)
	n.serveOn(t, l, h)
}

func (n *internet) serveTLS(t *testing.T, address string, c tls.Certificate, h http.Handler) {
	l, err := n.ns.Listen("tcp", address)
	must(t, err)
	n.serveOn(t, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{c}}), h)
}

func (n *internet) serveOn(t *testing.T, l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ConnState: func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.reach(c)
		}
	}}
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
}

// serveDatabase is a server that speaks first, as MySQL's does.
func (n *internet) serveDatabase(t *testing.T, address string) {
	l, err := n.ns.Listen("tcp", address)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.reach(c)
			io.WriteString(c, "welcome to "+address)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

func (n *internet) reach(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count[c.LocalAddr().(*net.TCPAddr).IP.String()]++
}

// reached is how many connections have come to an address.
func (n *internet) reached(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count[address]
}

func (n *internet) serveDNS(t *testing.T) {
	pc, err := n.ns.ListenPacket("udp", dnsAddress+":53")
	must(t, err)
	s := &mdns.Server{PacketConn: pc, Handler: mdns.HandlerFunc(answer)}
	done := make(chan struct{})
	go func() { s.ActivateAndServe(); close(done) }()
	t.Cleanup(func() { s.Shutdown(); pc.Close(); <-done })
}

func answer(w mdns.ResponseWriter, q *mdns.Msg) {
	m := new(mdns.Msg).SetReply(q)
	question := q.Question[0]
	name := strings.TrimSuffix(question.Name, ".")
	addrs, ok := names[name]
	if wild, below := wildNames[name]; below {
		addrs, ok = wild, true
	}
	header := mdns.RR_Header{Name: question.Name, Class: mdns.ClassINET, Rrtype: question.Qtype, Ttl: 30}
	switch {
	case !ok:
		m.Rcode = mdns.RcodeNameError
	case question.Qtype == mdns.TypeA:
		m.Answer = append(m.Answer, &mdns.A{Hdr: header, A: net.ParseIP(addrs[0])})
	case question.Qtype == mdns.TypeAAAA:
		m.Answer = append(m.Answer, &mdns.AAAA{Hdr: header, AAAA: net.ParseIP(addrs[1])})
	}
	w.WriteMsg(m)
}

// authority makes a CA, leaves its certificate in n.ca, and issues one for name.
func (n *internet) authority(t *testing.T, name string) tls.Certificate {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true,
		BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(t, err)
	n.ca = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(n.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err = x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
