package proxy

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/sluice-cni/sluice/proxy/http2"
)

// h2Body moves a request's body from its stream to an exchange. What a first try
// has taken is kept, within bounds, for another.
type h2Body struct {
	down     *http2.Stream
	kept     []byte
	spare    *budget
	held     int64 // of it, for kept
	lost     bool  // more was taken than is kept: there is no other try
	whole    bool  // all has been taken
	trailers []http2.Field

	done     chan struct{} // closed when the goroutine that sends it has ended; nil without one
	received atomic.Int64
	messages messageCount
	sent     atomic.Bool // all of it has gone on
	failed   error       // of the application's side; read after done
}

// maxKept bounds what is kept. It is the window of a stream, as with Envoy.
const maxKept = 64 << 10

// gather takes a body that is here already, so that it goes with the head. It fits
// into a stream's window, and its stream has room for it.
func (b *h2Body) gather() {
	for b.down.Whole() && !b.whole {
		data, last, err := b.down.Take(nil)
		if err != nil && err != io.EOF {
			return
		}
		if b.kept == nil {
			b.kept = data
		} else {
			b.kept = append(b.kept, data...)
		}
		b.received.Add(int64(len(data)))
		b.messages.add(data)
		if b.whole = last || err == io.EOF; b.whole {
			b.trailers = b.down.Trailers()
		}
	}
}

func (b *h2Body) keep(data []byte) {
	if b.lost || len(b.kept)+len(data) > maxKept || !b.spare.take(int64(len(data))) {
		b.lost = true
		b.forget()
		return
	}
	b.held += int64(len(data))
	b.kept = append(b.kept, data...)
}

// forget drops what is kept.
func (b *h2Body) forget() {
	b.spare.giveBack(b.held)
	b.kept, b.held = nil, 0
}

// start sends what o did not have, on a goroutine of its own unless that is
// little: the answer may begin before the body ends.
func (b *h2Body) start(r *h2Request, x exchange) {
	if b.whole {
		if b.trailers != nil {
			b.finish(x)
		}
		r.complete()
		return
	}
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		defer r.c.contain()
		if b.failed = b.send(x); b.sent.Load() {
			r.complete()
		}
	}()
}

// send returns an error where the application's side failed; where the upstream's
// did, the answer shows it.
func (b *h2Body) send(x exchange) error {
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
		b.keep(data)
		b.received.Add(int64(len(data)))
		b.messages.add(data)
		b.whole = last
		if x.write(data, last) != nil {
			return nil
		}
		b.down.Consumed(len(data))
		if last || !b.down.Ready() {
			if err := x.flush(); err != nil || last {
				b.sent.Store(err == nil)
				return nil
			}
		}
	}
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
