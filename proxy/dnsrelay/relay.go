// Package dnsrelay carries DNS messages between captured clients and the
// machine's own resolvers, over UDP and TCP. It never changes a byte of a query
// or an answer and keeps no cache; only when no resolver answers at all does it
// answer itself, with SERVFAIL, so that the client need not wait.
//
//	relay := dnsrelay.New(dnsrelay.Config{Servers: resolvConf.Servers})
//	go relay.ServePacket(ctx, udp)
//	go relay.ServeStream(ctx, tcp)
package dnsrelay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config is what a Relay needs. Only Servers is required.
type Config struct {
	// Servers gives the resolvers to ask, in order; it is called for each query.
	Servers func() []netip.AddrPort
	// Timeout is how long one resolver may take before the next is asked; default 2 s.
	Timeout time.Duration
	// InFlight bounds the UDP queries, and the TCP connections, under way;
	// default 512 of each. Further ones wait.
	InFlight int
	// Log receives a line when no resolver answers; nil: slog.Default().
	Log *slog.Logger
}

// Relay answers queries with what the resolvers say.
type Relay struct {
	cfg              Config
	packets, streams slots
}

// New makes a Relay.
func New(cfg Config) *Relay {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.InFlight <= 0 {
		cfg.InFlight = 512
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Relay{cfg: cfg, packets: make(slots, cfg.InFlight), streams: make(slots, cfg.InFlight)}
}

var errNoServer = errors.New("no resolver is configured")

// ask puts the query to each server in turn, by the transport the client used,
// and returns the first answer.
func (r *Relay) ask(ctx context.Context, network string, query message, exchange exchanger) (message, error) {
	var failures []error
	for _, server := range r.cfg.Servers() {
		answer, err := r.askOne(ctx, network, server, query, exchange)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		return nil, errNoServer
	}
	return nil, errors.Join(failures...)
}

// exchanger sends a query over a connection to a resolver and reads its answer.
type exchanger func(conn net.Conn, query message) (message, error)

func (r *Relay) askOne(ctx context.Context, network string, server netip.AddrPort, query message, exchange exchanger) (message, error) {
	deadline := time.Now().Add(r.cfg.Timeout)
	d := net.Dialer{Deadline: deadline}
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(deadline)
	// Closing on cancellation ends a read that is under way.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return exchange(conn, query)
}

// slots bounds how much is under way at once.
type slots chan struct{}

// take waits for a free slot; false means that ctx ended.
func (s slots) take(ctx context.Context) bool {
	select {
	case s <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s slots) release() { <-s }

func (r *Relay) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		r.cfg.Log.Warn("dns: no resolver answered", "error", err)
	}
}
