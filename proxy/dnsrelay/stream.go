package dnsrelay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	idleStream   = 30 * time.Second // how long a client's connection may stay without a query
	idleTransfer = 10 * time.Second // how long a zone transfer may pause
)

// ServeStream answers the queries on connections to l until ctx ends, closes l
// and waits for its connections.
func (r *Relay) ServeStream(ctx context.Context, l *net.TCPListener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // out of descriptors, or the client left again
			if !pause(ctx, 10*time.Millisecond) {
				return nil
			}
			continue
		}
		if !r.streams.take(ctx) {
			conn.Close()
			return nil
		}
		connections.Go(func() {
			defer r.streams.release()
			r.serveConnection(ctx, conn)
		})
	}
}

// serveConnection answers one client's queries in order.
func (r *Relay) serveConnection(ctx context.Context, client net.Conn) {
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	for {
		client.SetDeadline(time.Now().Add(idleStream))
		query, err := readFramed(client)
		if err != nil || !query.isQuery() {
			return
		}
		if query.isTransfer() {
			r.transfer(ctx, client, query)
			return
		}
		answer, err := r.ask(ctx, "tcp", query, exchangeStream)
		if err != nil {
			r.complain(ctx, err)
			answer = query.serverFailure()
		}
		if writeFramed(client, answer) != nil {
			return
		}
	}
}

// transfer relays every message of a zone transfer until the resolver closes
// or falls silent: only a reader of the records would know which is the last.
func (r *Relay) transfer(ctx context.Context, client net.Conn, query message) {
	answer, err := r.ask(ctx, "tcp", query, func(server net.Conn, query message) (message, error) {
		first, err := exchangeStream(server, query)
		for next := first; err == nil; next, err = readFramed(server) {
			if writeFramed(client, next) != nil {
				break
			}
			later := time.Now().Add(idleTransfer)
			server.SetDeadline(later)
			client.SetDeadline(later)
		}
		if first != nil { // the client has something: no other server may follow
			return nil, nil
		}
		return nil, err
	})
	if err != nil && answer == nil {
		r.complain(ctx, err)
		writeFramed(client, query.serverFailure())
	}
}

func exchangeStream(conn net.Conn, query message) (message, error) {
	if err := writeFramed(conn, query); err != nil {
		return nil, err
	}
	answer, err := readFramed(conn)
	if err != nil {
		return nil, err
	}
	if !answer.answers(query) {
		return nil, fmt.Errorf("resolver %s: its answer belongs to another query", conn.RemoteAddr())
	}
	return answer, nil
}

// readFramed reads one message behind its length (RFC 1035, 4.2.2).
func readFramed(r io.Reader) (message, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	m := make(message, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, m)
	return m, err
}

// writeFramed writes length and message at once, so that they share a segment.
func writeFramed(w io.Writer, m message) error {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(m)), uint16(len(m)))
	_, err := w.Write(append(framed, m...))
	return err
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
