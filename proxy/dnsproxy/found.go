package dnsproxy

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/vip"
)

// Bounds on how long an answer is kept, and on the TTL that clients are told.
const (
	minTTL        = 1 * time.Second
	maxTTL        = 1 * time.Hour
	maxNegative   = 5 * time.Minute
	bareNegative  = 5 * time.Second  // a negative answer without SOA says nothing about time
	failureTTL    = 2 * time.Second  // of silence and SERVFAIL
	staleFor      = 24 * time.Hour   // RFC 8767 §5
	staleTTL      = 30 * time.Second // RFC 8767 §4
	retryFailing  = 5 * time.Second  // between tries to replace a stale answer
	longestChain  = 16               // CNAMEs
	overheadOfOne = 400              // bytes of an entry beside its records
)

// found is what the resolvers say about a name and type: the records that belong to
// the question, and no others. It is never changed.
type found struct {
	rcode      int
	answer, ns []dns.RR
	secure     bool // the AD bit
	at         time.Time
	ttl        time.Duration
	size       int
}

// sift takes from a resolver's message what answers the question: the chain of
// aliases from its name and the records at the chain's end. Virtual addresses are
// left out: only this server gives them.
func sift(m *dns.Msg, k key, now time.Time) *found {
	f := &found{rcode: m.Rcode, secure: m.AuthenticatedData, at: now}
	names := map[string]bool{dns.Fqdn(k.name): true}
	for range longestChain {
		before := len(names)
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && names[strings.ToLower(c.Hdr.Name)] {
				names[strings.ToLower(c.Target)] = true
			}
		}
		if len(names) == before {
			break
		}
	}
	for _, rr := range m.Answer {
		h := rr.Header()
		wanted := h.Rrtype == k.qtype || h.Rrtype == dns.TypeCNAME || k.do && h.Rrtype == dns.TypeRRSIG
		if wanted && h.Class == dns.ClassINET && names[strings.ToLower(h.Name)] && !isVirtual(rr) {
			f.answer = append(f.answer, rr)
			f.size += dns.Len(rr)
		}
	}
	for _, rr := range m.Ns {
		t := rr.Header().Rrtype
		if t == dns.TypeSOA || k.do && (t == dns.TypeNSEC || t == dns.TypeNSEC3 || t == dns.TypeRRSIG) {
			f.ns = append(f.ns, rr)
			f.size += dns.Len(rr)
		}
	}
	f.ttl = f.lifetime(k)
	f.size += overheadOfOne + len(k.name)
	return f
}

// lifetime is how long the answer may be kept. A negative one lives as its SOA says
// (RFC 2308 §5).
func (f *found) lifetime(k key) time.Duration {
	if f.positive(k) {
		ttl := maxTTL
		for _, rr := range f.answer {
			ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
		}
		return max(ttl, minTTL)
	}
	for _, rr := range f.ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(max(time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second, minTTL), maxNegative)
		}
	}
	return bareNegative
}

// positive says whether there is a record of the type asked for.
func (f *found) positive(k key) bool {
	for _, rr := range f.answer {
		if rr.Header().Rrtype == k.qtype {
			return f.rcode == dns.RcodeSuccess
		}
	}
	return false
}

func isVirtual(rr dns.RR) bool {
	a, ok := addressOf(rr)
	return ok && vip.Contains(a)
}

// addressOf is the address in an A or AAAA record.
func addressOf(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok := netip.AddrFromSlice(rr.A)
		return a.Unmap(), ok
	case *dns.AAAA:
		a, ok := netip.AddrFromSlice(rr.AAAA)
		return a.Unmap(), ok
	}
	return netip.Addr{}, false
}

// reply answers a query with what was found, its TTLs by as much shorter as it is old.
func (f *found) reply(q *query, v verdict, now time.Time) *dns.Msg {
	r := reply(q.msg, f.rcode)
	if v.expanded {
		r.Answer = append(r.Answer, &dns.CNAME{Hdr: header(q.name, dns.TypeCNAME), Target: dns.Fqdn(v.target)})
	}
	age := now.Sub(f.at)
	r.Answer = append(r.Answer, aged(f.answer, age, f.ttl)...)
	r.Ns = aged(f.ns, age, f.ttl)
	opt := q.msg.IsEdns0()
	r.AuthenticatedData = f.secure && !v.expanded && (q.msg.AuthenticatedData || opt != nil && opt.Do())
	if age >= f.ttl {
		explained(r, dns.ExtendedErrorCodeStaleAnswer, "")
	}
	return r
}

// aged copies records with the TTL that is left of them, or the one of stale ones.
func aged(records []dns.RR, age, ttl time.Duration) []dns.RR {
	out := make([]dns.RR, len(records))
	for i, rr := range records {
		out[i] = dns.Copy(rr)
		left := min(time.Duration(rr.Header().Ttl)*time.Second, maxTTL) - age
		if age >= ttl {
			left = staleTTL
		}
		out[i].Header().Ttl = uint32(max(left, 0) / time.Second)
	}
	return out
}
