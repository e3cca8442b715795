package dnsproxy

import (
	"time"

	"github.com/miekg/dns"
)

// Sizes of UDP answers: what a client without EDNS takes (RFC 1035 §4.2.1), and the
// most that any is sent. Captured clients are on loopback, where nothing fragments.
const (
	plainSize = 512
	mostSize  = 4096
)

// reply begins an answer to a message.
func reply(m *dns.Msg, rcode int) *dns.Msg {
	r := new(dns.Msg).SetReply(m)
	r.Rcode, r.RecursionAvailable, r.Compress = rcode, true, true
	r.CheckingDisabled = m.CheckingDisabled
	if rcode > 0xf || m.IsEdns0() != nil {
		r.SetEdns0(mostSize, m.IsEdns0() != nil && m.IsEdns0().Do())
	}
	return r
}

// explained adds why an answer is what it is (RFC 8914), for clients that speak EDNS.
func explained(r *dns.Msg, code uint16, text string) *dns.Msg {
	if opt := r.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
	}
	return r
}

// pack makes the bytes of an answer, cut to what the client takes.
func (q *query) pack(r *dns.Msg) ([]byte, error) { return pack(q.msg, r, q.transport) }

func pack(asked, r *dns.Msg, transport string) ([]byte, error) {
	size := dns.MaxMsgSize
	if transport == "udp" {
		size = plainSize
		if opt := asked.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), plainSize), mostSize)
		}
	}
	r.Truncate(size)
	return r.Pack()
}

// malformed counts a message that was no query to serve.
func (s *Server) malformed(transport string, complaint *dns.Msg) {
	s.cfg.Observe(Event{Transport: transport, Source: Malformed, Rcode: codeName(complaint.Rcode)})
}

// finish counts a query and its answer.
func (s *Server) finish(q *query, r *dns.Msg, source Source) *dns.Msg {
	s.cfg.Observe(Event{Transport: q.transport, Type: typeName(q.qtype), Source: source, Rcode: codeName(r.Rcode), Duration: time.Since(q.began)})
	return r
}

// codeName is the response code for an Event: a fixed few, whatever a resolver makes up.
func codeName(rcode int) string {
	switch rcode {
	case dns.RcodeSuccess, dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNameError, dns.RcodeNotImplemented, dns.RcodeRefused:
		return dns.RcodeToString[rcode]
	case dns.RcodeBadVers: // RcodeToString has its other name, that of a TSIG error
		return "BADVERS"
	}
	return "other"
}
