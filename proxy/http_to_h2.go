package proxy

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
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
	o := h.outgoing()
	for fresh := 0; ; fresh++ {
		x, failure := h.acquireHTTP2(o)
		if failure != nil {
			return h.reply(*failure)
		}
		keep, again := h.exchangeHTTP2(x, d.timeout(), fresh < maxFresh)
		if !again {
			return keep
		}
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
	ctx, stop := h.c.server.until(h.entry.onward(), h.to.timeout())
	defer stop()
	return reach(ctx, &h.tries, &h.entry, func(ctx context.Context, key poolKey) (exchange, error) {
		return h.via.begin(ctx, key, o, true)
	})
}

// exchangeHTTP2 sends the request on x and its answer back.
func (h *httpConn) exchangeHTTP2(x exchange, timeout time.Duration, mayRepeat bool) (keep, again bool) {
	h.entry.upstreamHost, h.entry.upstreamLocal = x.ends()
	giveUp := x.cancel
	h.c.giveUp.Store(&giveUp)
	defer h.c.giveUp.Store(nil)
	var late atomic.Bool
	limit := newLimit(timeout, func() { late.Store(true); x.cancel() })
	defer limit.stop()
	application := h.c.watchFor(x.cancel)
	defer application.stop()
	if h.body.complete {
		limit.start()
	}
	h.body.startTo(x, limit.start)
	head, err := h.answerHTTP2(x)
	if err != nil {
		fresh := x.fresh(err)
		h.body.stopTo(x)
		x.finish(false)
		switch {
		case application.stop():
			return h.reply(*abandoned()), false
		case fresh && mayRepeat && h.body.complete && !late.Load():
			return false, true
		case late.Load():
			return h.reply(*routeTimeout()), false
		case h.body.bad != nil:
			return h.reply(localReply{status: 400, body: "Bad Request", close: true, flags: "DPE", details: h.body.bad.Error()}), false
		case h.body.failed():
			return h.reply(localReply{status: 400, close: true, flags: "DC", details: "downstream_remote_disconnect"}), false
		}
		return h.reply(*h.tries.conclude(upstreamFailure(&h.entry, err, h.streamTimeout()))), false
	}
	application.answered()
	return h.sendHTTP2(x, &head, &late, application), false
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
func (h *httpConn) sendHTTP2(x exchange, head *http2.Head, late *atomic.Bool, application *watch) bool {
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
	h.finishHTTP2(err, late.Load())
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

// finishHTTP2 writes the request's line in the access log.
func (h *httpConn) finishHTTP2(err error, late bool) {
	e := &h.entry
	e.received = h.body.bytes.Load()
	switch {
	case err == nil:
		e.details = "via_upstream"
	case isWriteError(err) && !isTimeout(err):
		e.flags, e.details = "DC", "downstream_remote_disconnect"
	case late:
		e.flags, e.details = "UT", "response_timeout"
	default:
		e.flags, e.details, _ = brokenOff(err)
	}
	h.c.server.record(e)
}
