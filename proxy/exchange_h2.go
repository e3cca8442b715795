package proxy

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/proxy/http2"
)

// h2Exchange is a stream of an upstream's HTTP/2 connection.
type h2Exchange struct {
	*http2.Stream
	conn  *h2Conn
	twice bool   // may be sent again when its connection ends
	spare []byte // what take lent out
	ended bool
}

func (x *h2Exchange) write(data []byte, end bool) error { return x.Write(data, end) }

func (x *h2Exchange) writeTrailers(fields []http2.Field) error {
	err := x.WriteHead(fields, true)
	x.Flush()
	return err
}

func (x *h2Exchange) flush() error {
	x.Flush()
	return nil
}

func (x *h2Exchange) over() bool                         { return x.Over() }
func (x *h2Exchange) trailers() []http2.Field            { return x.Trailers() }
func (x *h2Exchange) consumed(n int)                     { x.Consumed(n) }
func (x *h2Exchange) ready() bool                        { return x.Ready() }
func (x *h2Exchange) cancel()                            { x.Reset(http2.Cancel) }
func (x *h2Exchange) ends() (host, local netip.AddrPort) { return x.conn.up.key.addr, x.conn.up.local }

func (x *h2Exchange) answer() (http2.Head, error) {
	h, err := x.ReadHead()
	if lengthless(h.Status) {
		h.Fields = slices.DeleteFunc(h.Fields, func(f http2.Field) bool { return f.Name == "content-length" })
	}
	return h, err
}

func (x *h2Exchange) untouched() bool { return false } // it cannot be known

// fresh knows a stream that the peer has not looked at, unless it refused it: that is
// for the policy. And one whose connection was ending when it was opened: the news of
// that comes by another goroutine.
func (x *h2Exchange) fresh(err error) bool {
	return errors.Is(err, http2.ErrUnprocessed) && !errors.Is(err, http2.ErrRefused) || x.twice && errors.Is(err, http2.ErrClosed)
}

func (x *h2Exchange) take() ([]byte, bool, error) {
	spare := x.spare
	x.spare = nil // Take has it, and may give it to others
	data, last, err := x.Take(spare)
	x.spare = data
	return data, last, err
}

func (x *h2Exchange) finish(bool) {
	x.Close()
	if !x.ended {
		x.ended = true
		if x.conn.active.Add(-1) == 0 {
			x.conn.up.up.expireAt(x.conn.up.up.ends(time.Now(), x.conn.up.born))
		}
		x.conn.up.target.active.Add(-1)
		x.conn.up.up.freed()
	}
	http2.Recycle(x.spare)
	x.spare = nil
}

// headFields is a request's header section for HTTP/2. The scheme is that of the
// connection it goes out on: strict servers compare the two.
func (o *outgoing) headFields(tls bool) []http2.Field {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	fields := make([]http2.Field, 0, len(o.fields)+4)
	fields = append(fields,
		http2.Field{Name: ":method", Value: o.method}, http2.Field{Name: ":scheme", Value: scheme},
		http2.Field{Name: ":authority", Value: o.authority}, http2.Field{Name: ":path", Value: o.path})
	return append(fields, o.fields...)
}

// open begins a stream. Nothing is sent yet: begin does that.
func (hc *h2Conn) open(o *outgoing) (*h2Exchange, error) {
	s, err := hc.Open(o.headFields(hc.up.up.cluster.TLS != nil), o.method == "HEAD", o.bare())
	if err != nil {
		return nil, err
	}
	hc.active.Add(1)
	hc.up.target.active.Add(1)
	return &h2Exchange{Stream: s, conn: hc, twice: idempotent(o.method) && !s.First()}, nil
}

// begin sends the head with what is here of the body. An error shows where the
// answer is awaited.
func (x *h2Exchange) begin(o *outgoing) {
	if !o.bare() && (o.end || len(o.body) > 0) {
		x.Write(o.body, o.end)
	}
	x.Flush()
}
