package proxy

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// h1Exchange is a request that came as HTTP/2 on an upstream's HTTP/1.1
// connection. Bodies of unknown length go in chunks.
type h1Exchange struct {
	up      *upstreamConn
	resp    http1.Response
	method  string
	chunked bool   // how the request's body goes
	out     []byte // of the request, not sent yet

	framing   http1.Framing // of the answer's body
	remaining int64
	chunks    http1.ChunkReader
	interims  int
	peeked    *bodyPart
	open      bool // the connection's end was the body's
	seen      bool
	touched   bool        // bytes of the request have gone
	sent      atomic.Bool // the whole request
	cancelled atomic.Bool
}

// bodyPart is one part of an answer's body, or what came instead.
type bodyPart struct {
	data []byte
	last bool
	err  error
}

// beginH1 writes the head and what is here of the body.
func beginH1(up *upstreamConn, o *outgoing) *h1Exchange {
	x := &h1Exchange{up: up, method: o.method}
	b := http1.AppendRequestLine(nil, []byte(o.method), []byte(o.path))
	b = http1.AppendField(b, "host", []byte(o.authority))
	for i := range o.fields {
		f := &o.fields[i]
		b = http1.AppendField(b, f.Name, []byte(f.Value))
	}
	switch {
	case o.length >= 0: // its field is among the others
	case o.end && (len(o.body) > 0 || bodyIsUsual(o.method)):
		b = append(b, "content-length: "...)
		b = append(strconv.AppendInt(b, int64(len(o.body)), 10), "\r\n"...)
	case !o.end:
		x.chunked = true
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	x.out = append(b, "\r\n"...)
	if len(o.body) > 0 {
		x.appendBody(o.body)
	}
	x.sent.Store(o.end)
	return x
}

// bodyIsUsual says that a method without a body should say so (RFC 9110 §8.6).
func bodyIsUsual(method string) bool { return method == "POST" || method == "PUT" || method == "PATCH" }

func (x *h1Exchange) appendBody(data []byte) {
	if x.chunked {
		x.out = http1.AppendChunkHead(x.out, len(data))
		x.out = append(append(x.out, data...), "\r\n"...)
		return
	}
	x.out = append(x.out, data...)
}

func (x *h1Exchange) write(data []byte, end bool) error {
	if len(data) > 0 {
		x.appendBody(data)
	}
	if end {
		return x.writeTrailers(nil)
	}
	if len(x.out) >= flushAt {
		return x.writeOut()
	}
	return nil
}

// writeTrailers drops the fields where the body is not chunked: there is no place
// for them.
func (x *h1Exchange) writeTrailers(fields []http2.Field) error {
	if x.chunked {
		trailers := make([]http1.Field, len(fields))
		for i, f := range fields {
			trailers[i] = http1.Field{Name: []byte(f.Name), Value: []byte(f.Value)}
		}
		x.out = http1.AppendLastChunk(x.out, trailers)
	}
	err := x.flush()
	if err == nil {
		x.sent.Store(true)
	}
	return err
}

// flush is called before a wait, which may be long: no large buffer is held meanwhile.
func (x *h1Exchange) flush() error {
	err := x.writeOut()
	if cap(x.out) > bufferSize {
		x.out = nil
	}
	return err
}

func (x *h1Exchange) writeOut() error {
	if len(x.out) == 0 {
		return nil
	}
	x.up.write.within(time.Now(), x.up.up.server.cfg.StreamIdleTimeout)
	n, err := x.up.Conn.Write(x.out)
	x.touched = x.touched || n > 0
	x.out = x.out[:0]
	return err
}

func (x *h1Exchange) answer() (http2.Head, error) {
	in := &x.up.in
	for {
		if in.len() > 0 {
			x.seen = true
			n, bad := x.resp.Parse(in.bytes())
			if bad != nil {
				return http2.Head{}, bad
			}
			if n > 0 {
				head := x.head() // before the buffer moves on
				in.discard(n)
				return head, x.begun()
			}
		}
		if err := x.fill(); err != nil {
			if err == errBufferFull {
				return http2.Head{}, tooLarge
			}
			return http2.Head{}, err
		}
	}
}

// begun notes what follows the head that was read.
func (x *h1Exchange) begun() error {
	r := &x.resp
	switch {
	case r.Status == 101:
		return &http1.Error{Status: 502, Detail: "http1.unexpected_switch"}
	case r.Status < 200:
		if x.interims++; x.interims > maxInterims {
			return tooManyInterims
		}
		return nil
	}
	x.framing = r.Body([]byte(x.method))
	x.remaining = r.ContentLength
	return nil
}

// head is the answer's head in the form of HTTP/2.
func (x *h1Exchange) head() http2.Head {
	r := &x.resp
	h := http2.Head{Status: r.Status, ContentLength: r.ContentLength, Fields: make([]http2.Field, 0, len(r.Fields)+4)}
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Hop || f.ID == http1.ContentLength && lengthless(r.Status) {
			continue
		}
		h.Fields = append(h.Fields, http2.Field{Name: strings.ToLower(string(f.Name)), Value: string(f.Value)})
	}
	return h
}

// fill reads once. How long that may take is the application's stream's business,
// which knows whether anything moves the other way; it cancels.
func (x *h1Exchange) fill() error {
	x.up.read.at(time.Time{})
	return x.up.in.fill(x.up.Conn)
}

func (x *h1Exchange) over() bool { return x.framing == http1.NoBody }

// take returns views into up.in, which stay as they are until it reads again.
func (x *h1Exchange) take() ([]byte, bool, error) {
	for {
		if p, ok := x.part(); ok {
			x.peeked = nil
			return p.data, p.last, p.err
		}
		if err := x.fill(); err != nil {
			if err == io.EOF && x.framing != http1.UntilClose {
				err = io.ErrUnexpectedEOF
			}
			if err == io.EOF {
				x.framing = http1.NoBody
				x.open = true
			}
			return nil, false, err
		}
	}
}

// part is what take returns next, as far as it is here already.
func (x *h1Exchange) part() (*bodyPart, bool) {
	if x.peeked != nil {
		return x.peeked, true
	}
	in := &x.up.in
	p := bodyPart{}
	switch x.framing {
	case http1.NoBody:
		p.err = io.EOF
	case http1.Chunked:
		data, n, done, bad := x.chunks.Next(in.bytes())
		in.discard(n)
		switch {
		case bad != nil:
			p.err = bad
		case done:
			x.framing = http1.NoBody
			p.err = io.EOF
		default:
			p.data = data
		}
	case http1.Length:
		p.data = in.bytes()[:min(int64(in.len()), x.remaining)]
		in.discard(len(p.data))
		if x.remaining -= int64(len(p.data)); x.remaining == 0 {
			x.framing, p.last = http1.NoBody, true
		}
	case http1.UntilClose:
		p.data = in.bytes()
		in.discard(in.len())
	}
	if p.err == nil && len(p.data) == 0 {
		return nil, false
	}
	x.peeked = &p
	return x.peeked, true
}

func (x *h1Exchange) trailers() []http2.Field {
	var fields []http2.Field
	for i := range x.chunks.Trailers {
		if f := &x.chunks.Trailers[i]; !f.Hop {
			fields = append(fields, http2.Field{Name: strings.ToLower(string(f.Name)), Value: string(f.Value)})
		}
	}
	return fields
}

func (x *h1Exchange) consumed(int) {}

func (x *h1Exchange) ready() bool {
	_, ok := x.part()
	return ok
}

func (x *h1Exchange) cancel() {
	x.cancelled.Store(true)
	cut(x.up.tcp)
}

func (x *h1Exchange) finish(whole bool) {
	if whole && !x.open && x.sent.Load() && !x.cancelled.Load() && x.resp.KeepAlive && x.framing == http1.NoBody && x.up.in.len() == 0 {
		x.up.up.put(x.up)
		return
	}
	x.up.close()
}

// fresh knows an idle connection that the peer closed at the very moment it was
// used. What might have been processed is sent again only where that does no harm.
func (x *h1Exchange) fresh(error) bool {
	return x.up.reused && !x.seen && !x.cancelled.Load() && idempotent(x.method)
}

func (x *h1Exchange) untouched() bool { return !x.touched }

func (x *h1Exchange) ends() (host, local netip.AddrPort) { return x.up.key.addr, x.up.local }
