package proxy

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// requestBody moves a request's body upstream. A body that is here with its head
// goes out with it; a longer one is sent by a goroutine of its own, since the
// answer may begin before the body ends.
type requestBody struct {
	c         *connection
	framing   http1.Framing
	remaining int64 // of a body with a length
	chunks    http1.ChunkReader
	out       []byte

	again    replay        // what has gone of it, as it went
	ended    bool          // all of it has been taken
	trailers []http2.Field // on their way to HTTP/2

	complete bool          // the whole body went out with the head
	done     chan struct{} // closed when the goroutine has ended; nil without one
	up       *upstreamConn
	allSent  atomic.Bool
	lost     atomic.Bool // the application's side failed
	bad      error       // its framing was wrong; read after done
	bytes    atomic.Int64
}

func (b *requestBody) begin(c *connection, r *http1.Request) {
	b.c, b.framing, b.remaining = c, r.Body(), max(r.ContentLength, 0)
	b.complete, b.done, b.up, b.bad = b.framing == http1.NoBody, nil, nil, nil
	b.ended = false
	b.chunks.Reset()
	b.out = b.out[:0] // of a body that ended in a bad chunk, perhaps another client's
	b.allSent.Store(false)
	b.lost.Store(false)
	b.bytes.Store(0)
}

// inline appends the body to the head when all of it has been read already.
func (b *requestBody) inline(head []byte) []byte {
	if b.framing == http1.Length && int64(b.c.in.len()) >= b.remaining {
		head = append(head, b.c.in.bytes()[:b.remaining]...)
		b.c.in.discard(int(b.remaining))
		b.bytes.Store(b.remaining)
		b.remaining, b.complete = 0, true
	}
	return head
}

// discardBuffered drops the body of a request that is not forwarded, if all of
// it is here, and says whether it was.
func (b *requestBody) discardBuffered() bool {
	if b.complete || b.sent() || b.done != nil && (b.ended || b.framing == http1.Length && b.remaining == 0) {
		return true
	}
	if b.framing == http1.Length && b.done == nil && int64(b.c.in.len()) >= b.remaining {
		b.c.in.discard(int(b.remaining))
		b.remaining, b.complete = 0, true
	}
	return b.complete
}

// start sends what is left, behind what earlier tries have sent. When it has, the
// route's timeout begins: it bounds the wait for the answer, not the application's
// upload.
func (b *requestBody) start(up *upstreamConn, clock *tryClock) {
	if b.complete {
		return
	}
	b.up = up
	b.allSent.Store(false)
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		defer b.c.contain()
		err := b.send()
		switch {
		case err == nil:
			clock.sent(time.Now())
			b.allSent.Store(true)
		case b.lost.Load() || b.c.gone():
			// Whatever arrived is not the whole: the upstream must not take it so.
			b.lost.Store(true)
			cut(up.tcp)
		}
	}()
}

// stop ends the goroutine, whatever it waits for, waits until it has, and says
// whether the whole body went out.
func (b *requestBody) stop() bool {
	if b.done != nil {
		if !b.allSent.Load() {
			b.c.deadline.wake()
			b.up.write.wake()
			<-b.done
			b.c.deadline.resume() // it may have ended by itself meanwhile, and both
			b.up.write.resume()   // connections live on
			return b.sent()
		}
		<-b.done
	}
	return b.sent()
}

// sent says that the whole body has gone out.
func (b *requestBody) sent() bool { return b.complete || b.allSent.Load() }

// failed says that the body could not be read from the application.
func (b *requestBody) failed() bool { return b.lost.Load() }

// errFrozen is a body that stops where it is, to be sent again from its beginning.
var errFrozen = errors.New("the request is sent again")

func (b *requestBody) send() error {
	if gone := b.again.again(); len(gone) > 0 {
		b.up.write.within(time.Now(), b.c.server.cfg.StreamIdleTimeout)
		if _, err := b.up.Conn.Write(gone); err != nil {
			return err
		}
	}
	if b.framing == http1.Chunked {
		return b.sendChunks()
	}
	return b.sendLength()
}

// spliceFrom is the length from which the kernel moves a body by itself.
const spliceFrom = 64 << 10

func (b *requestBody) sendLength() error {
	for b.remaining > 0 {
		if b.c.in.len() == 0 {
			if b.remaining >= spliceFrom && !b.again.keeping() {
				return b.sendRest()
			}
			if err := b.fill(); err != nil {
				return err
			}
		}
		data := b.c.in.bytes()
		data = data[:min(int64(len(data)), b.remaining)]
		if err := b.emit(data); err != nil {
			return err
		}
		goOn := b.again.keep(data)
		b.c.in.discard(len(data))
		b.remaining -= int64(len(data))
		if !goOn {
			return errFrozen
		}
	}
	return nil
}

// sendRest has the kernel move the rest, where both ends are TCP, and looks now and
// then at how much that was: who waits for the answer wants to know.
func (b *requestBody) sendRest() error {
	s := b.c.server
	for {
		now := time.Now()
		b.c.deadline.within(now, s.patience.look)
		b.up.write.at(now.Add(2 * s.cfg.StreamIdleTimeout))
		n, err := io.CopyN(b.up.Conn, b.c.tcp, b.remaining)
		b.bytes.Add(n)
		b.remaining -= n
		switch {
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case !isTimeout(err) || b.c.deadline.isWoken() || time.Since(now) >= 2*s.cfg.StreamIdleTimeout:
			return err
		}
	}
}

// sendChunks takes the chunks apart and writes them anew: what goes upstream has
// one reading only.
func (b *requestBody) sendChunks() error {
	b.out = b.out[:0] // what a try before left is kept, or there would be none now
	for !b.ended {
		goOn := true
		from := len(b.out)
		data, n, done, bad := b.chunks.Next(b.c.in.bytes())
		if bad != nil {
			b.bad = bad
			b.lost.Store(true)
			return bad
		}
		if done {
			b.out = http1.AppendLastChunk(b.out, b.chunks.Trailers)
			b.again.keep(b.out[from:])
			b.c.in.discard(n)
			b.ended = true
			return b.flush()
		}
		if len(data) > 0 {
			b.out = http1.AppendChunkHead(b.out, len(data))
			b.out = append(append(b.out, data...), "\r\n"...)
			b.bytes.Add(int64(len(data)))
			goOn = b.again.keep(b.out[from:])
		}
		b.c.in.discard(n)
		if !goOn {
			return errFrozen
		}
		if n > 0 && len(b.out) < flushAt {
			continue
		}
		if err := b.flush(); err != nil {
			return err
		}
		if n == 0 {
			if err := b.fill(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flushAt is when collected output is written out.
const flushAt = 32 << 10

func (b *requestBody) flush() error {
	if len(b.out) == 0 {
		return nil
	}
	b.up.write.within(time.Now(), b.c.server.cfg.StreamIdleTimeout)
	_, err := b.up.Conn.Write(b.out)
	b.out = b.out[:0]
	return err
}

func (b *requestBody) emit(data []byte) error {
	b.up.write.within(time.Now(), b.c.server.cfg.StreamIdleTimeout)
	n, err := b.up.Conn.Write(data)
	b.bytes.Add(int64(n))
	return err
}

// fill reads more of the body. An end before the body's end is a lost body. How long
// it may take is up to who waits for the answer: an application may go on sending
// when it has heard enough of that.
func (b *requestBody) fill() error {
	b.c.deadline.at(time.Time{})
	err := b.c.in.fill(b.c.tcp)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
