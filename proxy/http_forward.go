package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
)

var alpnHTTP1 = []string{"http/1.1"}

// verdict is what follows a try.
type verdict uint8

const (
	closes      verdict = iota // the request is over, and its connection
	keeps                      // the connection may carry another one
	begins                     // nothing was tried yet
	resends                    // nothing was lost: at once, on a new connection
	retries                    // after the back-off
	retriesAnew                // the same, on a new connection
)

// over is the verdict on a try that was the last.
func over(keep bool) verdict {
	if keep {
		return keeps
	}
	return closes
}

// deliver sends the encoded request to its cluster and the answer back, and says
// whether the connection may carry another request.
func (h *httpConn) deliver() bool { return h.proceed(begins) }

// proceed does what follows a try, until the request is over.
func (h *httpConn) proceed(v verdict) bool {
	defer h.body.again.settle()
	defer h.tries.end()
	for v > keeps {
		if v >= retries {
			if failure := h.backOff(); failure != nil {
				return h.fail(failure)
			}
		}
		// Not on an idle connection where one has just ended: a request that makes its
		// server close would be sent on each that there is, one after the other.
		up, failure := h.acquire(v == begins || v == retries)
		if failure != nil {
			return h.fail(failure)
		}
		v = h.exchange(up)
	}
	return v == keeps
}

// fail replies to a request that there are no more tries for.
func (h *httpConn) fail(r *localReply) bool { return h.reply(*h.tries.conclude(r)) }

// backOff waits before another try, and returns what to reply when the request ends
// meanwhile.
func (h *httpConn) backOff() *localReply {
	ctx, stop := h.c.server.until(h.clock.routeEnd())
	defer stop()
	var err error
	left := h.c.whileHere(ctx, func(ctx context.Context) { err = h.tries.wait(ctx) })
	switch {
	case left, errors.Is(err, context.Canceled):
		return abandoned()
	case err != nil:
		return routeTimeout()
	}
	return nil
}

// deadline is when the wait for the answer ends; zero is never.
func (h *httpConn) deadline() time.Time { return h.clock.end() }

// acquire gets a connection: an idle one where there is one and it may be, else a new
// one.
func (h *httpConn) acquire(idle bool) (*upstreamConn, *localReply) {
	t, u := &h.tries, h.via
	// The usual case first: a context with a deadline costs four allocations.
	if idle && t.choose(noWait) == nil {
		if up := u.spare(t.key); up != nil {
			return up, nil
		}
	}
	ctx, stop := h.c.server.until(h.reachBy())
	defer stop()
	return reach(ctx, t, &h.entry, func(ctx context.Context, key poolKey) (*upstreamConn, error) {
		return u.obtain(ctx, key, idle, h.c.whileHere)
	})
}

// reachBy is when a connection has to be made: the route's timeout bounds that even
// where it has not begun.
func (h *httpConn) reachBy() time.Time {
	if end := h.clock.routeEnd(); !end.IsZero() || h.to.timeout() == 0 {
		return end
	}
	return time.Now().Add(h.to.timeout())
}

// noWait has ended: what it is given to answers from memory or not at all.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// encode writes the head as it goes upstream, with what is already here of the
// body when that is all of it.
func (h *httpConn) encode(c *mesh.Cluster) {
	r := &h.req
	b := http1.AppendRequestLine(h.head[:0], r.Method, r.Path)
	b = append(h.appendAuthority(append(b, "host: "...)), "\r\n"...)
	edits := h.edits.Request
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case f.ID == http1.Host, f.Hop && f.ID != http1.TE:
		case f.ID == http1.TE:
			if http1.EqualFold(f.Value, "trailers") {
				b = append(b, "te: trailers\r\n"...)
			}
		case edits.Drops(view(f.Name)):
		default:
			b = f.Append(b)
		}
	}
	b = edits.AppendLines(b)
	switch {
	case h.upgrading:
		b = append(b, "connection: upgrade\r\nupgrade: websocket\r\n"...)
	case r.Body() == http1.Chunked:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	b = append(b, "\r\n"...)
	h.head = h.body.inline(b)
}
