package proxy

import (
	"errors"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
)

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
	h.via.report(h.entry.upstreamHost, outcome(status), nil)
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
	h.via.reportFailure(&h.entry, r, late)
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
