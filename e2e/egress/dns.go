package egress

import (
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"
)

// Record sets what DNS says about a name: every address, or that it has none.
func (n *Internet) Record(name string, addresses ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addresses[name] = addresses
}

func (n *Internet) serveDNS() {
	n.t.Helper()
	pc, err := n.NS.ListenPacket("udp", DNS+":53")
	Must(n.t, err)
	s := &mdns.Server{PacketConn: pc, Handler: mdns.HandlerFunc(n.answer)}
	done := make(chan struct{})
	go func() { s.ActivateAndServe(); close(done) }()
	n.t.Cleanup(func() { s.Shutdown(); pc.Close(); <-done })
}

func (n *Internet) answer(w mdns.ResponseWriter, q *mdns.Msg) {
	m := new(mdns.Msg).SetReply(q)
	question := q.Question[0]
	name := strings.ToLower(strings.TrimSuffix(question.Name, "."))
	n.mu.Lock()
	addresses, known := n.addresses[name]
	n.asked[name] = true
	n.mu.Unlock()
	if !known {
		m.Rcode = mdns.RcodeNameError
	}
	header := mdns.RR_Header{Name: question.Name, Class: mdns.ClassINET, Rrtype: question.Qtype, Ttl: n.TTL}
	for _, a := range addresses {
		switch {
		case question.Qtype == mdns.TypeA && a.Is4():
			m.Answer = append(m.Answer, &mdns.A{Hdr: header, A: a.AsSlice()})
		case question.Qtype == mdns.TypeAAAA && a.Is6():
			m.Answer = append(m.Answer, &mdns.AAAA{Hdr: header, AAAA: a.AsSlice()})
		}
	}
	w.WriteMsg(m)
}

// Asked says whether DNS was asked for a name.
func (n *Internet) Asked(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[name]
}
