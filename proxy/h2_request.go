package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// h2Request is a request that came as HTTP/2, with its answer.
type h2Request struct {
	c     *connection
	down  *http2.Stream
	head  *http2.Head
	host  []byte
	entry entry
	body  h2Body
	sent  messageCount
	edits mesh.Edits // of its head and of its answer's
	tries tries
	clock tryClock
	alarm alarm

	mu    sync.Mutex
	ended ending
	up    exchange           // under way
	stop  context.CancelFunc // of what is waited for without one
}

// ending says what ended a request from outside.
type ending uint8

const (
	running ending = iota
	gone           // the application gave it up
	timedOut
	idled
)

// serveStream answers one request.
func (c *connection) serveStream(down *http2.Stream) {
	r := &h2Request{c: c, down: down, head: down.Head()}
	r.body.down, r.alarm.ring = down, r.ring
	defer r.abandon()
	r.begin()
	if !c.server.streams.take(1) {
		r.entry.failure, r.entry.refusal = tooManyStreams, Overloaded
		r.reply(*overflow())
		return
	}
	defer c.server.streams.giveBack(1)
	st := c.server.state.Load()
	d := r.route(st)
	if d.status != 0 && d.delay == 0 {
		r.reply(d.localReply)
		return
	}
	down.OnFail(func() { r.end(gone) })
	down.OnIdle(func() { r.end(idled) })
	defer down.OnFail(nil)
	switch {
	case d.delay > 0 && !r.holdBack(d.delay):
		r.reply(*r.gaveUp())
	case d.status != 0:
		down.OnIdle(nil)
		r.reply(d.localReply)
	default:
		r.forward(st, &d)
	}
}

// abandon gives up what a fault of ours has left under way.
func (r *h2Request) abandon() {
	if r.up != nil {
		r.up.cancel()
		r.up.finish(false)
	}
}

// begin notes what is needed of the request.
func (r *h2Request) begin() {
	h := r.head
	r.host = appendHost(nil, []byte(h.Authority))
	e := &r.entry
	e.reset("http", time.Now(), r.c)
	e.version, e.grpc, e.grpcStatus = "HTTP/2", isGRPC(contentType(h)), -1
	e.keepHead(h)
	e.method, e.path, e.authority = []byte(h.Method), []byte(h.Path), []byte(h.Authority)
	if h.Path != "" && h.Path[0] == '/' {
		h.Path = string(http1.Normalize([]byte(h.Path), nil))
	}
}

// keepHead notes what the logs want of a head.
func (e *entry) keepHead(h *http2.Head) {
	e.headReceived = headSize(h.Fields) + int64(len(h.Method)+len(h.Scheme)+len(h.Authority)+len(h.Path))
	for i := range h.Fields {
		switch f := &h.Fields[i]; f.Name {
		case "user-agent":
			e.userAgent = []byte(f.Value)
		case "x-request-id":
			e.requestID = []byte(f.Value)
		case "x-forwarded-for":
			e.forwardedFor = []byte(f.Value)
		}
	}
}

func headSize(fields []http2.Field) (n int64) {
	for i := range fields {
		n += int64(len(fields[i].Name) + len(fields[i].Value))
	}
	return n
}

// contentType is the first field of that name, "" without one.
func contentType(h *http2.Head) string {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Name == "content-type" {
			return f.Value
		}
	}
	return ""
}

// route decides about the request.
func (r *h2Request) route(st *state) decision {
	switch h := r.head; {
	case r.down.HeadError() != nil:
		d := refusal(431, "DPE", "http2.too_many_headers")
		r.entry.refusal = Malformed
		d.body = "Request Header Fields Too Large"
		return d
	case h.Authority == "":
		return refusal(400, "-", "missing_host_header")
	case h.Method == "CONNECT":
		return refusal(404, "NR", "route_not_found")
	case h.Path == "*":
		return refusal(404, "-", "absolute_path_rejected")
	}
	d := r.c.decide(st, r.host, h2View{r.head}, &r.entry)
	r.follow(&d)
	return d
}

// h2View shows a request to mesh's matches.
type h2View struct{ *http2.Head }

func (v h2View) Method() string    { return v.Head.Method }
func (v h2View) Path() string      { return v.Head.Path }
func (v h2View) Scheme() string    { return "http" } // as for HTTP/1: it came without TLS
func (v h2View) Authority() string { return v.Head.Authority }

// Header returns a field's value; several are joined with a comma (RFC 9110 §5.3).
func (v h2View) Header(name string) (string, bool) {
	value, found := "", false
	for i := range v.Fields {
		switch f := &v.Fields[i]; {
		case f.Name != name:
		case !found:
			value, found = f.Value, true
		default:
			value += "," + f.Value
		}
	}
	return value, found
}

// end gives the request up from outside.
func (r *h2Request) end(why ending) {
	r.mu.Lock()
	if r.ended == running {
		r.ended = why
	}
	up, stop := r.up, r.stop
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	if up != nil {
		up.cancel()
	}
}

// hold notes what has to be given up when the request is, and says whether it
// still goes on.
func (r *h2Request) hold(up exchange, stop context.CancelFunc) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up, r.stop = up, stop
	return r.ended == running
}

func (r *h2Request) ending() ending {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// ring ends what has taken too long: the request, or the try under way.
func (r *h2Request) ring() {
	switch r.clock.overdue(time.Now()) {
	case routeOverdue:
		r.end(timedOut)
	case tryOverdue:
		r.mu.Lock()
		up := r.up
		r.mu.Unlock()
		if up != nil {
			up.cancel()
		}
	}
}

// outgoing is the request as it goes upstream.
func (r *h2Request) outgoing() *outgoing {
	h := r.head
	o := &outgoing{method: h.Method, authority: h.Authority, path: h.Path, fields: h.Fields, length: h.ContentLength}
	o.body, o.end = r.body.inline()
	return o
}

// acquire begins the request on a connection of its cluster, one that was idle only
// where it may be.
func (r *h2Request) acquire(u *upstream, o *outgoing, h2, idle bool) (exchange, *localReply) {
	if idle && r.tries.choose(noWait) == nil { // the usual case first
		if x := u.pooled(r.tries.key, o, h2); x != nil {
			return x, nil
		}
	}
	ctx, stop := r.waiting()
	defer stop()
	x, failure := reach(ctx, &r.tries, &r.entry, func(ctx context.Context, key poolKey) (exchange, error) {
		return u.begin(ctx, key, o, h2, idle, nil) // ctx ends with the request
	})
	if failure != nil && (r.ending() != running || errors.Is(ctx.Err(), context.Canceled)) {
		failure = r.gaveUp() // none is due when the application has left meanwhile
	}
	return x, failure
}

// waiting is a context for what is waited for without an exchange. It ends with the
// request.
func (r *h2Request) waiting() (ctx context.Context, stop func()) {
	end := r.clock.routeEnd()
	if end.IsZero() && r.clock.route > 0 { // it has not begun, and bounds this all the same
		end = time.Now().Add(r.clock.route)
	}
	ctx, cancel := r.c.server.until(end)
	if !r.hold(nil, cancel) {
		cancel()
	}
	return ctx, func() {
		r.hold(nil, nil)
		cancel()
	}
}

// until is a context for what a request waits for; the zero time is no end.
func (s *Server) until(end time.Time) (context.Context, context.CancelFunc) {
	if !end.IsZero() {
		return context.WithDeadline(s.life, end)
	}
	return context.WithCancel(s.life)
}

// pooled begins the request on a connection that is there, nil when there is none.
func (u *upstream) pooled(key poolKey, o *outgoing, h2 bool) exchange {
	if h2 {
		if x := u.tryHTTP2(key, o); x != nil {
			x.begin(o)
			return x
		}
		return nil
	}
	if up := u.spare(key); up != nil {
		return beginH1(up, o)
	}
	return nil
}

// begin is pooled that opens a connection where there is none.
func (u *upstream) begin(ctx context.Context, key poolKey, o *outgoing, h2, idle bool, here presence) (exchange, error) {
	if h2 {
		x, err := u.openHTTP2(ctx, key, o, here)
		if err != nil {
			return nil, err
		}
		return x, nil
	}
	up, err := u.obtain(ctx, key, idle, here)
	if err != nil {
		return nil, err
	}
	return beginH1(up, o), nil
}
