package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/lab"
)

// nameServer answers for the service that is found by name, ever differently: two
// of its three addresses, in any order, and at times with a failure.
type nameServer struct {
	server *dns.Server
	ended  chan error

	mu      sync.Mutex
	addrs   []netip.Addr
	failing bool
}

const nameServerAddress = "10.9.0.53"

func startNameServer(in *lab.Namespace) (*nameServer, error) {
	c, err := in.ListenPacket("udp4", net.JoinHostPort(nameServerAddress, "53"))
	if err != nil {
		return nil, err
	}
	n := &nameServer{addrs: byName.addresses()[:2], ended: make(chan error, 1)}
	n.server = &dns.Server{PacketConn: c, Handler: n}
	go func() { n.ended <- n.server.ActivateAndServe() }()
	return n, nil
}

func (n *nameServer) close() error {
	return errors.Join(n.server.Shutdown(), <-n.ended)
}

// change draws the next answer.
func (n *nameServer) change(d *draws) {
	all, order := byName.addresses(), d.order(byName.replicas)
	failing := d.oneIn(8)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs = []netip.Addr{all[order[0]], all[order[1]]}
	n.failing = failing
}

// ServeDNS answers one question.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	addrs, failing := n.addrs, n.failing
	n.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	switch {
	case failing:
		m.Rcode = dns.RcodeServerFailure
	case !strings.EqualFold(q.Question[0].Name, byName.host+"."):
		m.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		for _, a := range addrs {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
				A:   a.AsSlice(),
			})
		}
	}
	w.WriteMsg(m)
}

const resolvConf = "/etc/resolv.conf"

// useNameServer makes this process's mount namespace, which is our own, use it.
func useNameServer(dir string) error {
	text := []byte("nameserver " + nameServerAddress + "\noptions timeout:1 attempts:3\n")
	if target, err := filepath.EvalSymlinks(resolvConf); err == nil {
		own := filepath.Join(dir, "resolv.conf")
		return errors.Join(os.WriteFile(own, text, 0o644), unix.Mount(own, target, "", unix.MS_BIND, ""))
	}
	target, err := os.Readlink(resolvConf) // into /run, where nothing is left
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(resolvConf), target)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, text, 0o644))
}
