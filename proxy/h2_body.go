package proxy

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/proxy/http2"
)

// h2Body moves a request's body from its stream to an exchange.
type h2Body struct {
	down     *http2.Stream
	gathered []byte // all of a body that was here with its head
	again    replay // what has gone of another
	whole    bool   // all has been taken
	trailers []http2.Field

	done     chan struct{} // closed when the goroutine that sends it has ended; nil without one
	received atomic.Int64
	messages messageCount
	sent     atomic.Bool // all of it has gone on
	failed   error       // of the application's side; read after done
}

// gather takes a body that is here already, so that it goes with the head. It fits
// into a stream's window, and its stream has room for it.
func (b *h2Body) gather() {
	for b.down.Whole() && !b.whole {
		data, last, err := b.down.Take(nil)
		if err != nil && err != io.EOF {
			return
		}
		if b.gathered == nil {
			b.gathered = data
		} else {
			b.gathered = append(b.gathered, data...)
		}
		b.received.Add(int64(len(data)))
		b.messages.add(data)
		if b.whole = last || err == io.EOF; b.whole {
			b.trailers = b.down.Trailers()
		}
	}
}

// inline is what goes with the head, and whether that is all without trailers.
func (b *h2Body) inline() (data []byte, end bool) {
	if b.behind() {
		return nil, false
	}
	return b.gathered, b.whole && b.trailers == nil
}

// behind says that the body follows its head: it is not here, or was not.
func (b *h2Body) behind() bool { return !b.whole || b.gathered == nil && len(b.again.data) > 0 }

// start sends what did not go with the head, on a goroutine of its own unless that is
// little: the answer may begin before the body ends.
func (b *h2Body) start(r *h2Request, x exchange) {
	if !b.behind() {
		if b.trailers != nil {
			b.finish(x)
		}
		r.clock.sent(time.Now())
		return
	}
	b.sent.Store(false)
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		defer r.c.contain()
		if b.failed = b.send(x); b.sent.Load() {
			r.clock.sent(time.Now())
		}
	}()
}

// send returns an error where the application's side failed; where the upstream's
// did, the answer shows it.
func (b *h2Body) send(x exchange) error {
	if gone := b.again.again(); len(gone) > 0 && !b.resend(x, gone) {
		return nil
	}
	spare := http2.Buffer()
	defer func() { http2.Recycle(spare) }()
	for {
		lent := spare
		spare = nil // Take has it, and may give it to others
		data, last, err := b.down.Take(lent)
		spare = data
		switch {
		case err == io.EOF:
			b.whole, b.trailers = true, b.down.Trailers()
			b.sent.Store(b.finish(x) == nil)
			return nil
		case errors.Is(err, http2.ErrInterrupted):
			return nil
		case err != nil:
			x.cancel() // what arrived is not the whole and must not be taken for it
			return err
		}
		goOn := b.again.keep(data)
		b.received.Add(int64(len(data)))
		b.messages.add(data)
		b.whole = last
		goOn = goOn && x.write(data, last) == nil
		b.down.Consumed(len(data)) // if it has not gone, it is kept, or of no use
		if !goOn {
			return nil
		}
		if last || !b.down.Ready() {
			if err := x.flush(); err != nil || last {
				b.sent.Store(err == nil)
				return nil
			}
		}
	}
}

// resend sends what an earlier try has sent, and says whether more is to follow.
func (b *h2Body) resend(x exchange, gone []byte) (goOn bool) {
	if b.whole && b.trailers == nil {
		b.sent.Store(x.write(gone, true) == nil && x.flush() == nil)
		return false
	}
	if x.write(gone, false) != nil {
		return false
	}
	if b.whole {
		b.sent.Store(b.finish(x) == nil)
		return false
	}
	return x.flush() == nil
}

// finish ends the request where its last data did not.
func (b *h2Body) finish(x exchange) error {
	if b.trailers != nil {
		return x.writeTrailers(b.trailers)
	}
	if err := x.write(nil, true); err != nil {
		return err
	}
	return x.flush()
}

// halt ends the goroutine, whatever it waits for, and waits until it has.
func (b *h2Body) halt(x exchange) {
	if b.done == nil {
		return
	}
	if !b.sent.Load() {
		x.cancel()
		b.down.Interrupt()
	}
	<-b.done
	b.down.Resume()
	b.done = nil
}
