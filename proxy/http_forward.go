package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
)

var alpnHTTP1 = []string{"http/1.1"}

// deliver sends the encoded request to its cluster and the answer back, and says
// whether the connection may carry another request.
func (h *httpConn) deliver() bool { return h.deliverOn(true) }

// deliverAgain is deliver for a request whose idle connection ended under it. It goes
// to a new connection: one that makes its server close would otherwise be sent on
// each idle connection there is, one after the other.
func (h *httpConn) deliverAgain() bool { return h.deliverOn(false) }

func (h *httpConn) deliverOn(idle bool) bool {
	for ; ; idle = false {
		up, failure := h.acquire(idle)
		if failure != nil {
			return h.reply(*failure)
		}
		keep, again := h.exchange(up, h.to.timeout())
		if !again {
			return keep
		}
	}
}

// deadline is when the route's timeout ends the request; zero for none.
func (h *httpConn) deadline() time.Time {
	timeout := h.to.timeout()
	if timeout == 0 {
		return time.Time{}
	}
	return h.entry.onward().Add(timeout)
}

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
	ctx, stop := h.c.server.until(h.entry.onward(), h.to.timeout())
	defer stop()
	return reach(ctx, t, &h.entry, func(ctx context.Context, key poolKey) (*upstreamConn, error) {
		return u.obtain(ctx, key, idle)
	})
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

// exchange sends the request on up and its answer back. again says that nothing
// was lost and another connection may be tried: an idle connection can be closed
// by the peer at the very moment it is used.
func (h *httpConn) exchange(up *upstreamConn, timeout time.Duration) (keep, again bool) {
	e := &h.entry
	e.upstreamHost, e.upstreamLocal = up.key.addr, up.local
	up.write.within(time.Now(), h.c.server.cfg.StreamIdleTimeout)
	if timeout > 0 && h.body.complete {
		up.read.cap(e.onward().Add(timeout))
	}
	h.c.upstream.Store(up.tcp)
	defer h.c.upstream.Store(nil)
	n, err := up.Conn.Write(h.head)
	unsent := err != nil && n == 0 // the server may have acted on a part
	if err == nil {
		h.body.start(up, timeout)
		err = h.readResponse(up)
	}
	return h.conclude(up, err, unsent)
}

// conclude ends an exchange: with what became of the wait for an answer's head.
func (h *httpConn) conclude(up *upstreamConn, err error, unsent bool) (keep, again bool) {
	if err != nil {
		again, r := h.exchangeFailed(up, err, unsent || h.idempotent())
		if again {
			return false, true
		}
		return h.reply(*h.tries.conclude(r)), false
	}
	if h.resp.Status == 101 {
		h.upgraded(up)
		return false, false
	}
	return h.sendResponse(up), false
}

// exchangeFailed ends an exchange whose answer never began.
func (h *httpConn) exchangeFailed(up *upstreamConn, err error, safe bool) (again bool, r *localReply) {
	timedOut, capped := isTimeout(err), up.read.capped(time.Now())
	untouched := up.in.len() == 0
	up.close()
	h.body.stop()
	var bad *http1.Error
	switch {
	case err == errLeft:
		return false, abandoned()
	case h.body.bad != nil:
		return false, &localReply{status: 400, body: "Bad Request", close: true, flags: "DPE", details: h.body.bad.Error()}
	case h.body.failed(): // the application left in the middle of its body
		return false, &localReply{status: 400, close: true, flags: "DC", details: "downstream_remote_disconnect"}
	case errors.As(err, &bad):
		return false, protocolError(bad.Detail)
	case timedOut && capped:
		return false, routeTimeout()
	case timedOut && !h.body.complete && !h.body.sent():
		return false, &localReply{status: 408, body: "stream timeout", flags: "SI", details: "stream_idle_timeout", close: true}
	case timedOut:
		return false, &localReply{status: 504, body: "stream timeout", flags: "SI", details: "stream_idle_timeout"}
	case safe && up.reused && untouched && h.body.complete:
		return true, nil
	}
	if r := alerted(&h.entry, err); r != nil {
		return false, r
	}
	return false, upstreamClosed()
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
	up.read.cap(time.Time{})
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
