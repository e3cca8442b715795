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

// connectFailure is the reply to a request that reached no endpoint.
func connectFailure(e *entry, err error, ctx context.Context) *localReply {
	e.failure = err
	var ce *connectError
	switch {
	case ctx.Err() != nil:
		return routeTimeout()
	case err == errLeft:
		e.failure = nil
		return abandoned()
	case errors.As(err, &ce):
		e.transportFailure = ce.reason()
		return &localReply{status: 503, reason: ce.reason(), flags: "UF", failure: mesh.NoConnection,
			details: "upstream_reset_before_response_started{connection_failure}"}
	case isOverload(err):
		e.refusal = Overloaded
		return overflow()
	case errors.Is(err, errNotItsName):
		return &localReply{status: 502, flags: "-", details: "destination_not_of_name"}
	case errors.Is(err, errUnsafe):
		return &localReply{status: 502, flags: "-", details: "name_leads_to_unsafe_address"}
	}
	return &localReply{status: 503, body: "no healthy upstream", flags: "UH", details: "no_healthy_upstream"}
}

const resetBody = "upstream connect error or disconnect/reset before headers. "

func routeTimeout() *localReply {
	return &localReply{status: 504, body: "upstream request timeout", flags: "UT", details: "upstream_response_timeout"}
}

// tryTimeout is the reply to a request of which one try has taken too long.
func tryTimeout() *localReply {
	return &localReply{status: 504, body: "upstream request timeout", flags: "UT", details: "upstream_per_try_timeout", failure: mesh.Reset}
}

func upstreamClosed() *localReply {
	return &localReply{status: 503, reason: "connection termination", flags: "UC", failure: mesh.Reset,
		details: "upstream_reset_before_response_started{connection_termination}"}
}

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

// exchange sends the request on up and its answer back. An idle connection can be
// closed by the peer at the very moment it is used.
func (h *httpConn) exchange(up *upstreamConn) verdict {
	e := &h.entry
	e.tried(up.key.addr, up.local)
	now := time.Now()
	up.write.within(now, h.c.server.cfg.StreamIdleTimeout)
	if h.body.complete {
		h.clock.sent(e.onward())
	}
	h.clock.try(now, &up.read)
	h.c.upstream.Store(up.tcp)
	defer h.c.upstream.Store(nil)
	n, err := up.Conn.Write(h.head)
	unsent := err != nil && n == 0 // the server may have acted on a part
	h.tries.sent = h.tries.sent || !unsent
	if err == nil {
		h.body.start(up, &h.clock)
		err = h.readResponse(up)
	}
	return h.conclude(up, err, unsent)
}

// conclude ends a try: with what became of the wait for an answer's head.
func (h *httpConn) conclude(up *upstreamConn, err error, unsent bool) verdict {
	switch {
	case err != nil:
		return h.exchangeFailed(up, err, unsent || h.idempotent())
	case h.resp.Status == 101:
		h.report()
		h.settle()
		h.upgraded(up)
		return closes
	}
	h.report()
	if h.wantsAgain() && h.again() {
		h.drop(up)
		return retries
	}
	h.settle()
	return over(h.sendResponse(up))
}

// wantsAgain says that the policy has another try for the answer in h.resp.
func (h *httpConn) wantsAgain() bool {
	if h.tries.settled() {
		return false
	}
	grpc, limited := inHead1(h.resp.Fields)
	return h.tries.policy.Answered(h.resp.Status, grpc, limited)
}

// again counts another try, and says whether there is one.
func (h *httpConn) again() bool { return h.tries.claim(&h.body.again) }

// report tells what the answer in h.resp says of its server.
func (h *httpConn) report() {
	status := h.resp.Status
	if h.entry.grpc {
		if grpc, _ := inHead1(h.resp.Fields); grpc != mesh.NoStatus {
			status = grpcOutcome(grpc)
		}
	}
	h.via.report(h.entry.upstreamHost, outcome(status))
}

// settle begins the answer to the application: there is no other try from here on.
func (h *httpConn) settle() {
	h.tries.end()
	h.clock.answered()
	h.body.again.settle()
}

// drop ends a try whose answer nobody wants; its connection lives on where all of the
// answer is here.
func (h *httpConn) drop(up *upstreamConn) {
	if h.body.stop() && h.resp.KeepAlive && h.drained(&up.in) {
		up.up.put(up)
		return
	}
	up.close()
}

// drained uses up the answer's body and says whether that is all that is in from.
func (h *httpConn) drained(from *buffer) bool {
	switch h.resp.Body(h.entry.method) {
	case http1.Length:
		if int64(from.len()) != h.resp.ContentLength {
			return false
		}
		from.discard(from.len())
	case http1.UntilClose:
		return false
	case http1.Chunked:
		for chunks := (http1.ChunkReader{}); ; {
			_, n, done, bad := chunks.Next(from.bytes())
			from.discard(n)
			if bad != nil || n == 0 && !done {
				return false
			}
			if done {
				return from.len() == 0
			}
		}
	}
	return from.len() == 0
}

// exchangeFailed ends a try whose answer never began. safe says that the request may be
// sent twice.
func (h *httpConn) exchangeFailed(up *upstreamConn, err error, safe bool) verdict {
	late, untouched := h.clock.overdue(time.Now()), up.in.len() == 0
	up.close()
	h.body.stop()
	r := h.failure(err, late)
	if (r.flags == "UC" || r.flags == "UF") && safe && up.reused && untouched && h.body.complete && h.tries.resends() {
		return resends
	}
	h.via.reportFailure(up.key.addr, r, late)
	switch {
	case !h.body.again.whole() || !h.tries.failed(r.failure):
		return over(h.fail(r))
	case up.reused:
		return retriesAnew
	}
	return retries
}

// failure is the reply to a request whose answer never began.
func (h *httpConn) failure(err error, late overdueBy) *localReply {
	var bad *http1.Error
	switch timedOut := isTimeout(err); {
	case err == errLeft:
		return abandoned()
	case h.body.failed():
		return h.unread()
	case errors.As(err, &bad):
		return protocolError(bad.Detail)
	case timedOut && late == routeOverdue:
		return routeTimeout()
	case timedOut && late == tryOverdue:
		return tryTimeout()
	case timedOut:
		return h.streamTimeout()
	}
	if r := alerted(&h.entry, err); r != nil {
		return r
	}
	return upstreamClosed()
}

// unread is the reply to a request whose body could not be read.
func (h *httpConn) unread() *localReply {
	if h.body.bad != nil {
		return &localReply{status: 400, body: "Bad Request", close: true, flags: "DPE", details: h.body.bad.Error()}
	}
	return &localReply{status: 400, close: true, flags: "DC", details: "downstream_remote_disconnect"} // it left in its middle
}

func (h *httpConn) idempotent() bool { return idempotent(h.entry.method) }

// maxInterims bounds the 1xx responses to one request: a server may not answer for ever.
const maxInterims = 100

var tooManyInterims = &http1.Error{Status: 502, Detail: "http1.too_many_interim_responses"}

// readResponse waits for the final response head; interim ones are passed on.
func (h *httpConn) readResponse(up *upstreamConn) error {
	for interims := 0; ; {
		if up.in.len() > 0 {
			n, err := h.resp.Parse(up.in.bytes())
			if err != nil {
				return err
			}
			if n > 0 {
				up.in.discard(n)
				if h.resp.Status >= 200 || h.resp.Status == 101 {
					return h.checkSwitch()
				}
				if interims++; interims > maxInterims {
					return tooManyInterims
				}
				if err := h.interim(); err != nil {
					return err
				}
				continue
			}
		}
		if err := h.await(up, false); err != nil {
			if err == errBufferFull {
				return tooLarge
			}
			return err
		}
	}
}

// checkSwitch refuses a 101 that nobody asked for.
func (h *httpConn) checkSwitch() error {
	if h.resp.Status == 101 && !(h.upgrading && http1.EqualFold(h.resp.UpgradeTo, "websocket")) {
		return &http1.Error{Status: 502, Detail: "http1.unexpected_switch"}
	}
	return nil
}

// interim passes on a 1xx response; HTTP/1.0 knows none (RFC 9110 §15.2).
func (h *httpConn) interim() error {
	if h.req.Minor == 0 {
		return nil
	}
	b := http1.AppendStatusLine(h.back[:0], h.resp.Status, h.resp.Reason)
	for i := range h.resp.Fields {
		if f := &h.resp.Fields[i]; !f.Hop && f.ID != http1.ContentLength { // RFC 9110 §8.6
			b = f.Append(b)
		}
	}
	h.back = append(b, "\r\n"...)
	h.tries.final = true // as in Envoy: another server would say it again, or not
	h.write.within(time.Now(), h.c.server.cfg.StreamIdleTimeout)
	_, err := h.c.tcp.Write(h.back)
	return err
}

// upgraded turns the connection into a tunnel after 101 (Switching Protocols).
func (h *httpConn) upgraded(up *upstreamConn) {
	if !h.body.stop() { // its rest would be taken for the new protocol's bytes
		up.close()
		h.reply(localReply{status: 502, body: resetBody + "reset reason: protocol error", flags: "UPE", close: true,
			details: "upstream_reset_before_response_started{protocol_error:http1.switch_within_body}"})
		return
	}
	b := http1.AppendStatusLine(h.back[:0], 101, h.resp.Reason)
	for i := range h.resp.Fields {
		if f := &h.resp.Fields[i]; !f.Hop && !h.edits.Response.Drops(view(f.Name)) {
			b = f.Append(b)
		}
	}
	b = h.edits.Response.AppendLines(b)
	b = http1.AppendField(b, "upgrade", h.resp.UpgradeTo)
	h.back = append(b, "connection: upgrade\r\n\r\n"...)
	h.entry.status = 101
	h.clock.stop()
	up.read.at(time.Time{})
	up.write.at(time.Time{})
	h.write.at(time.Time{})
	h.c.deadline.at(time.Time{})
	if _, err := h.c.tcp.Write(h.back); err != nil {
		up.close()
		return
	}
	h.c.tunnel(up, h.entry.detach())
}
