package dnsproxy

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mostQuery bounds a query's bytes over UDP; a longer one is cut and cannot be read.
const mostQuery = 4096

// servePackets receives the queries that reach conn until ctx ends. What needs no
// waiting is answered at once, by this goroutine.
func (s *Server) servePackets(ctx context.Context, conn *net.UDPConn) error {
	if err := errors.Join(neverWait(conn), wantDestination(conn)); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(longAgo) })()
	var failed failing
	for {
		d, err := receive(raw)
		switch {
		case err == nil: // nobody else has it, whether ctx has ended or not
			failed = 0
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // possibly an ICMP error that an earlier answer met
			if err := failed.again(ctx, s, "receiving queries", err); err != nil {
				return err
			}
			continue
		}
		to := packetReply{conn, d.from, replyFrom(d.control[:d.controlBytes])}
		s.contained(func() { s.packet(d.query[:d.queryBytes], to) })
		datagrams.Put(d)
	}
}

// datagram is one that was received, and its control messages.
type datagram struct {
	query                    [mostQuery]byte
	control                  [controlSize]byte
	queryBytes, controlBytes int
	from                     netip.AddrPort
}

var datagrams = sync.Pool{New: func() any { return new(datagram) }}

// receive waits for a datagram, without room for one: a node has a Server for each of
// hundreds of pods, and most of them ask nothing.
func receive(raw syscall.RawConn) (d *datagram, err error) {
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		d = datagrams.Get().(*datagram)
		var from unix.Sockaddr
		for {
			d.queryBytes, d.controlBytes, _, from, failed = unix.Recvmsg(int(fd), d.query[:], d.control[:], 0)
			if failed != unix.EINTR {
				break
			}
		}
		switch from := from.(type) {
		case *unix.SockaddrInet4:
			d.from = netip.AddrPortFrom(netip.AddrFrom4(from.Addr), uint16(from.Port))
		case *unix.SockaddrInet6:
			addr := netip.AddrFrom16(from.Addr)
			if from.ZoneId != 0 {
				addr = addr.WithZone(strconv.FormatUint(uint64(from.ZoneId), 10))
			}
			d.from = netip.AddrPortFrom(addr, uint16(from.Port))
		}
		if failed != nil {
			datagrams.Put(d)
			d = nil
		}
		return failed != unix.EAGAIN
	})
	return d, cmp.Or(err, failed)
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
