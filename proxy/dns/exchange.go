package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Exchange asks one server one question and returns its answer message.
type Exchange func(ctx context.Context, question *dns.Msg, server string) (*dns.Msg, error)

// Through asks over UDP, and again over TCP when the answer was cut short. The
// dialer makes the sockets; nil is the default one.
func Through(dialer *net.Dialer) Exchange {
	return func(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
		m, err := over(ctx, dns.Client{Net: "udp", UDPSize: 1232, Dialer: dialer, Timeout: maxTimeout}, q, server)
		if err != nil || !m.Truncated {
			return m, err
		}
		return over(ctx, dns.Client{Net: "tcp", Dialer: dialer, Timeout: maxTimeout}, q, server)
	}
}

var errOtherQuestion = errors.New("the answer is to another question")

// over ends with ctx, which dns.Client by itself does not: it knows deadlines,
// but not that nobody waits any more.
func over(ctx context.Context, client dns.Client, q *dns.Msg, server string) (*dns.Msg, error) {
	conn, err := client.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	m, _, err := client.ExchangeWithConnContext(ctx, q, conn)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError:
		if len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) || m.Question[0].Qtype != q.Question[0].Qtype {
			return nil, errOtherQuestion
		}
	}
	return m, nil
}

// answer is what a lookup found.
type answer struct {
	addrs []netip.Addr
	ttl   time.Duration
}

// ask looks the name up as it is, then, for a name of one label, under the
// search domains. A name with a dot is taken as complete: what an operator
// registers is a full name, whatever ndots the pod has.
func (r *Resolver) ask(ctx context.Context, conf settings, name string) (answer, error) {
	got, err := r.both(ctx, conf, name)
	if err == nil || strings.Contains(name, ".") {
		return got, err
	}
	for _, domain := range conf.search {
		under, underErr := r.both(ctx, conf, name+"."+canonical(domain))
		if underErr == nil {
			return under, nil
		}
		if !errors.Is(underErr, ErrNotFound) {
			err = underErr
		}
	}
	return answer{}, err
}

// resolutionDelay is how long an IPv4 answer waits for the IPv6 one: some servers
// never answer AAAA (RFC 8305 §3 has the same idea the other way round).
const resolutionDelay = 200 * time.Millisecond

// both asks for A and AAAA at one time. One family with addresses is enough.
func (r *Resolver) both(ctx context.Context, conf settings, name string) (answer, error) {
	type result struct {
		answer
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	six := make(chan result, 1)
	go func() {
		a, err := r.family(ctx, conf, name, dns.TypeAAAA)
		six <- result{a, err}
	}()
	a4, err4 := r.family(ctx, conf, name, dns.TypeA)
	if len(a4.addrs) > 0 {
		late := time.AfterFunc(resolutionDelay, cancel)
		defer late.Stop()
	}
	r6 := <-six
	both := answer{addrs: append(a4.addrs, r6.addrs...)}
	switch {
	case len(a4.addrs) > 0 && len(r6.addrs) > 0:
		both.ttl = min(a4.ttl, r6.ttl)
	case len(a4.addrs) > 0:
		both.ttl = a4.ttl
	case len(r6.addrs) > 0:
		both.ttl = r6.ttl
	case err4 != nil && !errors.Is(err4, ErrNotFound):
		return answer{}, fmt.Errorf("look up %s: %w", name, err4)
	case r6.err != nil && !errors.Is(r6.err, ErrNotFound):
		return answer{}, fmt.Errorf("look up %s: %w", name, r6.err)
	default:
		return answer{}, fmt.Errorf("look up %s: %w", name, ErrNotFound)
	}
	return both, nil
}

// family asks every server in turn, as often as resolv.conf says.
func (r *Resolver) family(ctx context.Context, conf settings, name string, qtype uint16) (answer, error) {
	var last error
	for range conf.attempts {
		for _, server := range conf.servers {
			if err := ctx.Err(); err != nil {
				return answer{}, err
			}
			try, cancel := context.WithTimeout(ctx, conf.timeout)
			// A fresh message each time: its random ID must not be used twice.
			q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
			q.SetEdns0(1232, false)
			m, err := r.exchange(try, q, server)
			cancel()
			if err != nil {
				last = fmt.Errorf("server %s: %w", server, plain(err))
				continue
			}
			switch m.Rcode {
			case dns.RcodeSuccess:
				return addresses(m, qtype)
			case dns.RcodeNameError:
				return answer{}, ErrNotFound
			}
			last = fmt.Errorf("server %s answered %s", server, dns.RcodeToString[m.Rcode])
		}
	}
	return answer{}, last
}

// plain shortens a network error to what went wrong: the server is named already.
func plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return errors.New("no answer in time")
		}
		return op.Err
	}
	return err
}

// addresses reads the records of one type, following whatever CNAME chain the
// server put before them; the TTL is the smallest of the chain.
func addresses(m *dns.Msg, qtype uint16) (answer, error) {
	var a answer
	ttl := uint32(1<<31 - 1)
	for _, rr := range m.Answer {
		ttl = min(ttl, rr.Header().Ttl)
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A.To4()
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if rr.Header().Rrtype != qtype {
			continue
		}
		if addr, ok := netip.AddrFromSlice(ip); ok && !addr.Is4In6() {
			a.addrs = append(a.addrs, addr)
		}
	}
	if len(a.addrs) == 0 {
		return answer{}, ErrNotFound
	}
	a.ttl = time.Duration(ttl) * time.Second
	return a, nil
}
