package proxy

import (
	"strings"
	"time"

	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// startTo sends what is left of the body to x, behind what earlier tries have sent, on
// a goroutine of its own, and tells the clock when it has.
func (b *requestBody) startTo(x exchange, clock *tryClock) {
	if b.complete {
		return
	}
	b.allSent.Store(false)
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		defer b.c.contain()
		err := b.sendTo(x)
		switch {
		case err == nil:
			b.allSent.Store(true)
			clock.sent(time.Now())
		case b.lost.Load() || b.c.gone():
			b.lost.Store(true)
			x.cancel() // whatever arrived is not the whole
		}
	}()
}

// stopTo ends that goroutine, waits until it has, and says whether the whole body
// went out.
func (b *requestBody) stopTo(x exchange) bool {
	if b.done != nil {
		if !b.allSent.Load() {
			b.c.deadline.wake()
			x.cancel()
			<-b.done
			b.c.deadline.resume()
		}
		<-b.done
	}
	return b.sent()
}

// sendTo moves the body until its end.
func (b *requestBody) sendTo(x exchange) error {
	if gone := b.again.again(); len(gone) > 0 || b.ended {
		if err := b.passOn(x, gone, b.ended); err != nil || b.ended {
			return err
		}
	}
	for {
		data, used, last, err := b.next()
		if err != nil {
			return err
		}
		if len(data) > 0 || last {
			goOn := b.again.keep(data)
			if b.ended = last; last {
				b.keepTrailers()
			}
			err = b.pass(x, data, last)
			b.c.in.discard(used)
			if err == nil && !goOn {
				err = errFrozen
			}
			if err != nil || last {
				return err
			}
			continue
		}
		b.c.in.discard(used)
		if err := x.flush(); err != nil {
			return err
		}
		if err := b.fill(); err != nil {
			b.lost.Store(!isTimeout(err))
			return err
		}
	}
}

// keepTrailers copies them: they are views into a buffer that moves on.
func (b *requestBody) keepTrailers() {
	b.trailers = nil
	if b.framing != http1.Chunked {
		return
	}
	for i := range b.chunks.Trailers {
		if f := &b.chunks.Trailers[i]; !f.Hop {
			b.trailers = append(b.trailers, http2.Field{Name: strings.ToLower(string(f.Name)), Value: string(f.Value)})
		}
	}
}

// pass sends one part, and behind the last one the trailers.
func (b *requestBody) pass(x exchange, data []byte, last bool) error {
	b.bytes.Add(int64(len(data)))
	return b.passOn(x, data, last)
}

func (b *requestBody) passOn(x exchange, data []byte, last bool) error {
	if last && len(b.trailers) > 0 {
		if len(data) > 0 {
			if err := x.write(data, false); err != nil {
				return err
			}
		}
		return x.writeTrailers(b.trailers)
	}
	if err := x.write(data, last); err != nil || !last {
		return err
	}
	return x.flush()
}

// next is the part of the body that is here, and how many bytes of c.in it used.
func (b *requestBody) next() (data []byte, used int, last bool, err error) {
	if b.framing == http1.Chunked {
		data, used, last, bad := b.chunks.Next(b.c.in.bytes())
		if bad != nil {
			b.bad = bad
			b.lost.Store(true)
			return nil, 0, false, bad
		}
		return data, used, last, nil
	}
	data = b.c.in.bytes()
	data = data[:min(int64(len(data)), b.remaining)]
	b.remaining -= int64(len(data))
	return data, len(data), b.remaining == 0, nil
}
