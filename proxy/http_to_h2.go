package proxy

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// forwardHTTP2 is forward for a cluster whose connections speak HTTP/2.
func (h *httpConn) forwardHTTP2(st *state, d decision) bool {
	if h.upgrading { // extended CONNECT (RFC 8441) is not offered
		return h.reply(localReply{status: 403, flags: "-", details: "upgrade_failed", close: true})
	}
	h.leadTo(st, d)
	defer h.body.again.settle()
	defer h.tries.end()
	o := h.outgoing()
	clock := &alarm{ring: h.ring}
	defer clock.stop()
	v := begins
	for fresh := 0; v > keeps; {
		if v == retries {
			if failure := h.backOff(); failure != nil {
				return h.fail(failure)
			}
		}
		x, failure := h.acquireHTTP2(o)
		if failure != nil {
			return h.fail(failure)
		}
		if v = h.exchangeHTTP2(x, clock, fresh < maxFresh); v == resends {
			fresh++
		}
	}
	return v == keeps
}

// ring gives the try under way up when its time is over.
func (h *httpConn) ring() {
	if giveUp := h.c.giveUp.Load(); giveUp != nil && h.clock.overdue(time.Now()) != inTime {
		(*giveUp)()
	}
}

// outgoing is the request in the form of HTTP/2, with its body when all of it is here.
func (h *httpConn) outgoing() *outgoing {
	r := &h.req
	o := &outgoing{method: string(r.Method), authority: string(h.appendAuthority(nil)), path: string(r.Path), length: r.ContentLength}
	for i := range r.Fields {
		switch f := &r.Fields[i]; {
		case f.ID == http1.Host, f.Hop && f.ID != http1.TE:
		case f.ID == http1.TE:
			if http1.EqualFold(f.Value, "trailers") {
				o.fields = append(o.fields, http2.Field{Name: "te", Value: "trailers"})
			}
		default:
			o.fields = append(o.fields, http2.Field{Name: strings.ToLower(string(f.Name)), Value: string(f.Value)})
		}
	}
	o.fields = edit(o.fields, h.edits.Request)
	o.body = h.body.inline(nil)
	o.end = h.body.complete
	return o
}

func (h *httpConn) acquireHTTP2(o *outgoing) (exchange, *localReply) {
	ctx, stop := h.c.server.until(h.reachBy())
	defer stop()
	return reach(ctx, &h.tries, &h.entry, func(ctx context.Context, key poolKey) (exchange, error) {
		return h.via.begin(ctx, key, o, true, true, h.c.whileHere)
	})
}

// exchangeHTTP2 sends the request on x and its answer back. mayRepeat: the request may
// be sent again at once where nothing of it was looked at.
func (h *httpConn) exchangeHTTP2(x exchange, clock *alarm, mayRepeat bool) verdict {
	h.entry.tried(x.ends())
	giveUp := x.cancel
	h.c.giveUp.Store(&giveUp)
	defer h.c.giveUp.Store(nil)
	application := h.c.watchFor(x.cancel)
	defer application.stop()
	if h.body.complete {
		h.clock.sent(h.entry.onward())
	}
	h.clock.try(time.Now(), clock)
	h.tries.sent = true
	h.body.startTo(x, &h.clock)
	head, err := h.answerHTTP2(x)
	if err != nil {
		late, fresh := h.clock.overdue(time.Now()), x.fresh(err)
		h.body.stopTo(x)
		x.finish(false)
		if fresh && mayRepeat && late == inTime && h.body.again.whole() && !application.stop() {
			return resends
		}
		return h.brokeHTTP2(err, late, application)
	}
	h.via.reportAnswer(h.entry.upstreamHost, &head, h.entry.grpc)
	if h.tries.wantsAgain(&head) && h.again() {
		h.body.stopTo(x)
		x.finish(drain(x))
		return retries
	}
	h.settle()
	application.answered()
	return over(h.sendHTTP2(x, &head, application))
}

// brokeHTTP2 ends a try whose answer never began.
func (h *httpConn) brokeHTTP2(err error, late overdueBy, application *watch) verdict {
	r := h.failureHTTP2(err, late, application)
	h.via.reportFailure(&h.entry, r, late)
	if h.body.again.whole() && h.tries.failed(r.failure) {
		return retries
	}
	return over(h.fail(r))
}

// failureHTTP2 is the reply to a request whose answer never began.
func (h *httpConn) failureHTTP2(err error, late overdueBy, application *watch) *localReply {
	switch {
	case application.stop():
		return abandoned()
	case late == routeOverdue:
		return routeTimeout()
	case h.body.failed():
		return h.unread()
	case late == tryOverdue:
		return tryTimeout()
	}
	return upstreamFailure(&h.entry, err, h.streamTimeout())
}

func (h *httpConn) streamTimeout() *localReply {
	if h.body.sent() {
		return &localReply{status: 504, body: "stream timeout", flags: "SI", details: "stream_idle_timeout"}
	}
	return &localReply{status: 408, body: "stream timeout", flags: "SI", details: "stream_idle_timeout", close: true}
}

// answerHTTP2 waits for the final head; interim ones are passed on.
func (h *httpConn) answerHTTP2(x exchange) (http2.Head, error) {
	for {
		head, err := x.answer()
		if err != nil || head.Status >= 200 {
			return head, err
		}
		if h.req.Minor == 0 { // it knows none (RFC 9110 §15.2)
			continue
		}
		h.tries.final = true
		h.back = appendHead1(h.back[:0], &head, false)
		h.back = append(h.back, "\r\n"...)
		if err := h.flush(); err != nil {
			return head, err
		}
	}
}

// appendHead1 writes a head as HTTP/1.1, without the line that ends it. chunked
// leaves out the length.
func appendHead1(b []byte, head *http2.Head, chunked bool) []byte {
	b = http1.AppendStatusLine(b, head.Status, reasonBytes(head.Status))
	for i := range head.Fields {
		if f := &head.Fields[i]; f.Name != "server" && !(chunked && f.Name == "content-length") {
			b = appendField1(b, f)
		}
	}
	return b
}

func appendFields1(b []byte, fields []http2.Field) []byte {
	for i := range fields {
		b = appendField1(b, &fields[i])
	}
	return b
}

func appendField1(b []byte, f *http2.Field) []byte {
	return append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
}

// sendHTTP2 passes the answer on and says whether the connection may carry
// another request.
func (h *httpConn) sendHTTP2(x exchange, head *http2.Head, application *watch) bool {
	e := &h.entry
	e.status = head.Status
	e.keepStatus(head.Fields)
	none := h.isHead || head.Status == 204 || head.Status == 304
	// A body with a length has no place for trailers.
	trailers := h.req.Minor == 1 && hasField(head, "trailer")
	rechunk := !none && h.req.Minor == 1 && (head.ContentLength < 0 || trailers)
	untilClose := !none && head.ContentLength < 0 && !rechunk
	keep := h.req.KeepAlive && !untilClose && !h.c.server.draining.Load()
	head.Fields = without(head.Fields, h.edits.Response)
	h.back = appendHead1(h.back[:0], head, rechunk)
	h.back = h.appendOwn(h.back, hasField(head, "date"))
	if rechunk {
		h.back = append(h.back, "transfer-encoding: chunked\r\n"...)
	}
	h.back = append(h.appendConnection(h.back, keep), "\r\n"...)
	e.headSent = int64(len(h.back))
	err := h.bodyHTTP2(x, rechunk)
	if err != nil && application.stop() {
		err = &writeError{errLeft}
	}
	ended := h.body.stopTo(x) && err == nil
	x.finish(err == nil)
	h.finish(err, h.clock.overdue(time.Now()) == routeOverdue)
	if err != nil {
		h.c.abortAnswer(untilClose)
		return false
	}
	if !ended || !keep {
		h.end()
		return false
	}
	return true
}

func hasField(head *http2.Head, name string) bool {
	for i := range head.Fields {
		if head.Fields[i].Name == name {
			return true
		}
	}
	return false
}

// bodyHTTP2 sends the head in h.back and the body after it.
func (h *httpConn) bodyHTTP2(x exchange, rechunk bool) error {
	last := x.over()
	for !last {
		if !x.ready() {
			if err := h.flush(); err != nil {
				return err
			}
		}
		data, end, err := x.take()
		if err == io.EOF {
			break
		}
		if err != nil {
			h.flush() // what came is not held back
			return err
		}
		h.appendData(data, rechunk)
		if len(h.back) >= flushAt {
			if err := h.flush(); err != nil {
				return err
			}
		}
		x.consumed(len(data))
		last = end
	}
	trailers := x.trailers()
	h.entry.keepStatus(trailers)
	if rechunk {
		h.back = http1.AppendLastChunk(h.back, trailers1(trailers))
	}
	return h.flush()
}

func trailers1(fields []http2.Field) []http1.Field {
	out := make([]http1.Field, len(fields))
	for i, f := range fields {
		out[i] = http1.Field{Name: []byte(f.Name), Value: []byte(f.Value)}
	}
	return out
}
