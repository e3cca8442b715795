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

	"github.com/sluice-cni/sluice/proxy/dial"
)

// Exchange asks one server one question and returns its answer message.
type Exchange func(ctx context.Context, question *dns.Msg, server string) (*dns.Msg, error)

// Through asks over UDP, and again over TCP when the answer was cut short. The
// dialer makes the sockets; nil is the default one.
func Through(dialer *net.Dialer) Exchange {
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	return through(dialer.DialContext)
}

// ThroughSockets is Through for sockets that somebody else makes, as in another network
// namespace, by socket(2): non-blocking and close-on-exec (dial.Sockets).
func ThroughSockets(socket func(domain, typ int) (fd int, err error)) Exchange {
	return through(func(ctx context.Context, network, server string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(server)
		if err != nil {
			return nil, err
		}
		return dial.Sockets(socket).Conn(ctx, network, to)
	})
}

// connect makes a connection to a server, host:port, over "udp" or "tcp".
type connect func(ctx context.Context, network, server string) (net.Conn, error)

func through(connect connect) Exchange {
	return func(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
		ctx, cancel := context.WithTimeout(ctx, maxTimeout)
		defer cancel()
		m, err := connect.ask(ctx, "udp", q, server)
		if err != nil || !m.Truncated {
			return m, err
		}
		return connect.ask(ctx, "tcp", q, server)
	}
}

// udpSize is what an answer over UDP may be (DNS flag day 2020): it is not fragmented.
const udpSize = 1232

var errOtherQuestion = errors.New("the answer is to another question")

// ask puts a question over a connection of its own. It ends with ctx, which dns.Client by
// itself does not: it knows deadlines, but not that nobody waits any more.
func (connect connect) ask(ctx context.Context, network string, q *dns.Msg, server string) (*dns.Msg, error) {
	c, err := connect(ctx, network, server)
	if err != nil {
		return nil, err
	}
	conn, client := &dns.Conn{Conn: c, UDPSize: udpSize}, dns.Client{Net: network, Timeout: maxTimeout}
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

// ask looks the name up as it is, then, for a name of one label, under the
// search domains. A name with a dot is taken as complete: what an operator
// registers is a full name, whatever ndots the pod has. early is told what there
// is when one half is slow.
func (r *Resolver) ask(ctx context.Context, conf settings, name string, early func(found)) found {
	got := r.both(ctx, conf, name, early)
	if got.some() || strings.Contains(name, ".") {
		return got
	}
	for _, domain := range conf.search {
		under := r.both(ctx, conf, name+"."+canonical(domain), early)
		if under.some() {
			return under
		}
		if got.four.notFound() && got.six.notFound() {
			got = under // a failure, if any, is what the caller should hear of
		}
	}
	return got
}

// some says that there are addresses.
func (f found) some() bool { return f.four.err == nil || f.six.err == nil }

// resolutionDelay is how long an IPv4 answer waits for the IPv6 one: some servers
// never answer AAAA (RFC 8305 §3 has the same idea the other way round).
const resolutionDelay = 200 * time.Millisecond

// both asks for A and AAAA at one time. early is called when A has come and AAAA
// takes its time.
func (r *Resolver) both(ctx context.Context, conf settings, name string, early func(found)) found {
	four, six := make(chan result, 1), make(chan result, 1)
	go func() { four <- r.family(ctx, conf, name, dns.TypeA) }()
	go func() { six <- r.family(ctx, conf, name, dns.TypeAAAA) }()
	got := found{four: <-four}
	if got.four.err == nil {
		slow := time.NewTimer(resolutionDelay)
		defer slow.Stop()
		select {
		case got.six = <-six:
			return got
		case <-slow.C:
			early(found{four: got.four, six: result{err: errPending}})
		}
	}
	got.six = <-six
	return got
}

// family asks every server in turn, as often as resolv.conf says.
func (r *Resolver) family(ctx context.Context, conf settings, name string, qtype uint16) result {
	var last error
	for range conf.attempts {
		for _, server := range conf.servers {
			if err := ctx.Err(); err != nil {
				return result{err: fmt.Errorf("look up %s: %w", name, err)}
			}
			try, cancel := context.WithTimeout(ctx, conf.timeout)
			// A fresh message each time: its random ID must not be used twice.
			q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
			q.SetEdns0(udpSize, false)
			m, err := r.exchange(try, q, server)
			cancel()
			if err != nil {
				last = fmt.Errorf("server %s: %w", server, plain(err))
				continue
			}
			switch m.Rcode {
			case dns.RcodeSuccess:
				got := addresses(m, qtype)
				if got.err != nil {
					got.err = fmt.Errorf("look up %s: server %s: %w", name, server, got.err)
				}
				return got
			case dns.RcodeNameError:
				return result{err: fmt.Errorf("look up %s: server %s: %w", name, server, ErrNotFound)}
			}
			last = fmt.Errorf("server %s answered %s", server, dns.RcodeToString[m.Rcode])
		}
	}
	return result{err: fmt.Errorf("look up %s: %w", name, last)}
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
func addresses(m *dns.Msg, qtype uint16) result {
	var a result
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
		return result{err: ErrNotFound}
	}
	a.ttl = time.Duration(ttl) * time.Second
	return a
}
