package dnsrelay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
)

const maxMessage = 65535

// ServePacket answers the queries that reach conn until ctx ends, closes conn
// and waits for its queries. Bind conn to an address, not to the wildcard: a
// wildcard socket's answer leaves from another address than the query was sent to.
func (r *Relay) ServePacket(ctx context.Context, conn *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	var queries sync.WaitGroup
	defer queries.Wait()
	buf := make([]byte, maxMessage)
	for {
		n, client, err := conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // an ICMP error that an earlier answer met
		}
		query := append(message(nil), buf[:n]...)
		if !query.isQuery() {
			continue
		}
		if !r.packets.take(ctx) {
			return nil
		}
		queries.Go(func() {
			defer r.packets.release()
			r.answerPacket(ctx, conn, client, query)
		})
	}
}

func (r *Relay) answerPacket(ctx context.Context, conn *net.UDPConn, client netip.AddrPort, query message) {
	answer, err := r.ask(ctx, "udp", query, exchangePacket)
	if err != nil {
		r.complain(ctx, err)
		answer = query.serverFailure()
	}
	conn.WriteToUDPAddrPort(answer, client) // a client that left cannot be told
}

func exchangePacket(conn net.Conn, query message) (message, error) {
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if m := message(buf[:n]); m.answers(query) {
			return m, nil
		}
	}
}
