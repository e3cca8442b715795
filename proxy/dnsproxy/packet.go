package dnsproxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// mostQuery bounds a query's bytes over UDP; a longer one is cut and cannot be read.
const mostQuery = 4096

// servePackets receives the queries that reach conn until ctx ends. What needs no
// waiting is answered at once, by this goroutine.
func (s *Server) servePackets(ctx context.Context, conn *net.UDPConn) error {
	if err := errors.Join(neverWait(conn), wantDestination(conn)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(longAgo) })()
	buf, control := make([]byte, mostQuery), make([]byte, controlSize)
	for {
		n, nc, _, from, err := conn.ReadMsgUDPAddrPort(buf, control)
		switch {
		case err == nil: // nobody else has it, whether ctx has ended or not
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			continue // an ICMP error that an earlier answer met
		}
		to := packetReply{conn, from, replyFrom(control[:nc])}
		s.contained(func() { s.packet(buf[:n], to) })
	}
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// packet answers one datagram, in a goroutine of its own where it must wait.
func (s *Server) packet(b []byte, to packetReply) {
	q, complaint := readQuery(b, "udp", to.client.Addr().Unmap())
	if q == nil {
		if complaint != nil {
			s.malformed("udp", complaint)
			to.send(complaint.Pack())
		}
		return
	}
	if r := s.atOnce(q); r != nil {
		to.send(q.pack(r))
		return
	}
	if !s.waiting.take(q.client) {
		to.send(q.pack(s.shed(q)))
		return
	}
	s.handlers.Go(func() {
		defer s.waiting.release(q.client)
		s.contained(func() { to.send(q.pack(s.answer(s.life, q))) })
	})
}

// packetReply is where an answer goes to, and from where.
type packetReply struct {
	conn   *net.UDPConn
	client netip.AddrPort
	from   []byte // control message
}

// send sends an answer; a client that left cannot be told.
func (p packetReply) send(b []byte, err error) {
	if err == nil {
		p.conn.WriteMsgUDPAddrPort(b, p.from, p.client)
	}
}
