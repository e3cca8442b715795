package dnsproxy

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// answerTTL is what registered addresses are answered with, as Istio's agent does:
// short, since a change of the configuration reaches no client's cache.
const answerTTL = 30

// local answers a verdict from what the view says; nil leaves it to DNS.
func (s *Server) local(q *query, v verdict) *dns.Msg {
	switch v.kind {
	case forbidden:
		s.tellRefused(q)
		return explained(reply(q.msg, dns.RcodeNameError), dns.ExtendedErrorCodeBlocked, "not registered: a ServiceEntry would allow it")
	case reverse:
		return s.pointer(q, v.addr)
	case registered:
		return s.registered(q, v)
	}
	return nil
}

// registered answers addresses, and types that would lead past them. HTTPS and SVCB
// records do so for every registered name: their hints are other addresses, and their
// keys for encrypted hellos hide the name that the proxy goes by. A name that is
// registered exists, whatever the type: an answer without records, never NXDOMAIN,
// or clients that ask for A and AAAA at once would take it as gone (istio#31250).
func (s *Server) registered(q *query, v verdict) *dns.Msg {
	switch q.qtype {
	case dns.TypeHTTPS, dns.TypeSVCB:
		return v.begin(q)
	case dns.TypeANY: // RFC 8482
		r := v.begin(q)
		r.Answer = append(r.Answer, &dns.HINFO{Hdr: header(v.target, dns.TypeHINFO), Cpu: "RFC8482"})
		return r
	case dns.TypeA, dns.TypeAAAA:
	default:
		return nil
	}
	addresses := v.host.Addresses
	if v.host.Virtual {
		addresses = s.reachable(addresses)
	}
	if len(addresses) == 0 || v.target != v.host.Host {
		return nil
	}
	r := v.begin(q)
	for _, a := range addresses {
		if rr := address(v.target, a); rr.Header().Rrtype == q.qtype {
			r.Answer = append(r.Answer, rr)
		}
	}
	return r
}

// reachable leaves out the family that the workload has no route in: there
// connect() fails before the rules see a packet. Without either, as in a network
// that has routes to some ranges only, the real addresses are the better answer.
func (s *Server) reachable(addresses []netip.Addr) []netip.Addr {
	ipv4, ipv6 := s.cfg.Reachable()
	var out []netip.Addr
	for _, a := range addresses {
		if a.Is4() && ipv4 || a.Is6() && ipv6 {
			out = append(out, a)
		}
	}
	return out
}

// pointer answers for a virtual address; nobody else knows of it.
func (s *Server) pointer(q *query, addr netip.Addr) *dns.Msg {
	host := s.view.Load().HostAt(addr)
	if host == "" {
		return authoritative(reply(q.msg, dns.RcodeNameError))
	}
	r := authoritative(reply(q.msg, dns.RcodeSuccess))
	if q.qtype == dns.TypePTR {
		r.Answer = append(r.Answer, &dns.PTR{Hdr: header(q.name, dns.TypePTR), Ptr: dns.Fqdn(host)})
	}
	return r
}

// begin is a reply that says, for an expanded name, which name it stands for.
func (v *verdict) begin(q *query) *dns.Msg {
	r := authoritative(reply(q.msg, dns.RcodeSuccess))
	if v.expanded {
		r.Answer = append(r.Answer, &dns.CNAME{Hdr: header(q.name, dns.TypeCNAME), Target: dns.Fqdn(v.target)})
	}
	return r
}

func authoritative(r *dns.Msg) *dns.Msg {
	r.Authoritative = true
	return r
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: dns.Fqdn(name), Rrtype: rrtype, Class: dns.ClassINET, Ttl: answerTTL}
}

func address(name string, a netip.Addr) dns.RR {
	if a.Is4() {
		return &dns.A{Hdr: header(name, dns.TypeA), A: net.IP(a.AsSlice())}
	}
	return &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: net.IP(a.AsSlice())}
}
