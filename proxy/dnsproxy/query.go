package dnsproxy

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// query is one question of one client.
type query struct {
	msg       *dns.Msg
	name      string // lower case, no trailing dot
	qtype     uint16
	transport string // "udp" or "tcp"
	client    netip.Addr
	began     time.Time
}

// headerLength is that of a DNS message (RFC 1035 §4.1.1).
const headerLength = 12

// readQuery reads a message. What is no query at all gets no answer (nil, nil): two
// servers that answer each other's answers never stop. What is a query that this
// server does not serve gets a reply that says so.
func readQuery(b []byte, transport string, client netip.Addr) (*query, *dns.Msg) {
	if len(b) < headerLength || b[2]&0x80 != 0 {
		return nil, nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return nil, &dns.Msg{MsgHdr: dns.MsgHdr{
			Id: uint16(b[0])<<8 | uint16(b[1]), Response: true, Opcode: int(b[2]>>3) & 0xf,
			RecursionDesired: b[2]&1 != 0, RecursionAvailable: true, Rcode: dns.RcodeFormatError,
		}}
	}
	if rcode := complaint(m); rcode != dns.RcodeSuccess {
		return nil, reply(m, rcode)
	}
	asked := m.Question[0]
	return &query{
		msg: m, qtype: asked.Qtype, transport: transport, client: client, began: time.Now(),
		name: strings.ToLower(strings.TrimSuffix(asked.Name, ".")),
	}, nil
}

// complaint is the code that says why a message is not served.
func complaint(m *dns.Msg) int {
	opt := m.IsEdns0()
	switch {
	case m.Opcode != dns.OpcodeQuery:
		return dns.RcodeNotImplemented
	case len(m.Question) != 1 || len(m.Answer) > 0 || len(m.Ns) > 0 || opts(m) > 1:
		return dns.RcodeFormatError
	case opt != nil && opt.Version() != 0:
		return dns.RcodeBadVers
	case m.Question[0].Qclass != dns.ClassINET:
		return dns.RcodeRefused
	}
	switch m.Question[0].Qtype {
	case dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB:
		return dns.RcodeRefused
	case dns.TypeNone, dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeReserved:
		return dns.RcodeFormatError
	}
	return dns.RcodeSuccess
}

// opts counts the OPT records; more than one is an error (RFC 6891 §6.1.1).
func opts(m *dns.Msg) int {
	n := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n
}

// typeName is the type for an Event: a fixed few, whatever a client makes up.
func typeName(qtype uint16) string {
	switch qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeHTTPS, dns.TypeMX, dns.TypeNS, dns.TypePTR, dns.TypeSOA, dns.TypeSRV, dns.TypeSVCB, dns.TypeTXT, dns.TypeANY:
		return dns.TypeToString[qtype]
	}
	return "other"
}
