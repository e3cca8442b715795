package proxy

import (
	"strings"

	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// startTo sends what is left of the body to x, on a goroutine of its own, and
// calls sent when it has.
func (b *requestBody) startTo(x exchange, sent func()) {
	if b.complete {
		return
	}
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		defer b.c.contain()
		err := b.sendTo(x)
		switch {
		case err == nil:
			b.allSent.Store(true)
			sent()
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
	for {
		data, used, last, err := b.next()
		if err != nil {
			return err
		}
		if len(data) > 0 || last {
			err = b.pass(x, data, last)
			b.c.in.discard(used)
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

// pass sends one part, and behind the last one the trailers.
func (b *requestBody) pass(x exchange, data []byte, last bool) error {
	b.bytes.Add(int64(len(data)))
	var fields []http2.Field
	if last && b.framing == http1.Chunked {
		for i := range b.chunks.Trailers {
			if f := &b.chunks.Trailers[i]; !f.Hop {
				fields = append(fields, http2.Field{Name: strings.ToLower(string(f.Name)), Value: string(f.Value)})
			}
		}
	}
	if len(fields) > 0 {
		return x.writeTrailers(fields)
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
