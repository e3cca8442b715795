package dnsproxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of one TCP connection (RFC 7766).
const (
	idleStream      = 20 * time.Second // between two queries, and within one
	lastStream      = time.Second      // the same once the server stops, unless there was none yet
	writeStream     = 10 * time.Second // for an answer to be taken
	pipelinedStream = 16               // queries under way; further ones are not read yet
)

// serveStreams accepts connections from l until ctx ends.
func (s *Server) serveStreams(ctx context.Context, l *net.TCPListener) error {
	if err := neverWait(l); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.SetDeadline(longAgo) })()
	var failed failing
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil: // nobody else has it, whether ctx has ended or not
			failed = 0
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of descriptors, or the client left again
			if err := failed.again(ctx, s, "accepting connections", err); err != nil {
				return err
			}
			continue
		}
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !s.streams.take(client) {
			conn.Close()
			continue
		}
		s.handlers.Go(func() {
			defer s.streams.release(client)
			defer conn.Close()
			if !s.cfg.Descriptors.Take(ctx) {
				s.tellCut(client)
				return
			}
			defer s.cfg.Descriptors.GiveBack()
			s.contained(func() { s.serveStream(ctx, conn, client) })
		})
	}
}

// serveStream answers one client's queries, each as soon as it can be (RFC 7766 §6.2.1.1).
// Once ctx has ended it waits for no more of them than a client sends that has a query on
// its way.
func (s *Server) serveStream(ctx context.Context, conn *net.TCPConn, client netip.Addr) {
	p := &streamPatience{conn: conn}
	defer context.AfterFunc(ctx, p.drain)()
	defer context.AfterFunc(s.life, p.end)()
	var underWay sync.WaitGroup
	defer underWay.Wait()
	slots := make(chan struct{}, pipelinedStream)
	w := &streamWriter{conn: conn}
	for {
		p.rest()
		b, err := readFramed(conn)
		if err != nil {
			return
		}
		q, complaint := readQuery(b, "tcp", client)
		if q == nil {
			if complaint == nil {
				return
			}
			s.malformed("tcp", complaint)
			w.send(complaint.Pack())
			continue
		}
		slots <- struct{}{}
		underWay.Go(func() {
			defer func() { <-slots }()
			s.contained(func() { w.send(q.pack(s.streamed(s.life, q))) })
		})
	}
}

// streamPatience is how long a connection's next query is waited for.
type streamPatience struct {
	conn *net.TCPConn

	mu              sync.Mutex
	draining, ended bool
	waited, served  bool // for a query; there was one
}

// rest is called before each query.
func (p *streamPatience) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served, p.waited = p.waited, true
	p.wait()
}

func (p *streamPatience) wait() {
	limit := idleStream
	switch {
	case p.ended:
		p.conn.SetReadDeadline(longAgo)
		return
	case p.draining && p.served: // the next may go elsewhere
		limit = lastStream
	}
	p.conn.SetReadDeadline(time.Now().Add(limit))
}

func (p *streamPatience) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	p.wait()
}

func (p *streamPatience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.wait()
}

// readFramed reads one message behind its length (RFC 1035 §4.2.2).
func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, min(int(binary.BigEndian.Uint16(length[:])), mostQuery))
	if len(b) < int(binary.BigEndian.Uint16(length[:])) {
		return nil, errors.New("a query of that length is none")
	}
	_, err := io.ReadFull(r, b)
	return b, err
}

// streamWriter writes answers whole, one after another.
type streamWriter struct {
	mu   sync.Mutex
	conn *net.TCPConn
}

// send writes length and message at once, so that they share a segment. A client
// that does not take its answers loses the connection.
func (w *streamWriter) send(b []byte, err error) {
	if err != nil {
		return
	}
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b)))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn.SetWriteDeadline(time.Now().Add(writeStream))
	if _, err := w.conn.Write(append(framed, b...)); err != nil {
		w.conn.Close()
	}
}
