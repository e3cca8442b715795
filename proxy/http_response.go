package proxy

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/sluice-cni/sluice/proxy/http1"
)

// sendResponse passes the answer on and says whether the application's
// connection may carry another request. The upstream connection is pooled again
// when both messages ended where they said they would.
func (h *httpConn) sendResponse(up *upstreamConn) bool {
	r := &h.resp
	framing := r.Body(h.entry.method)
	rechunk, untilClose, keep := h.delivery(framing)
	h.lone = h.body.complete && framing != http1.UntilClose && r.ContentLength <= laneAnswer
	h.entry.status = r.Status
	h.appendHead(framing, rechunk, keep)
	err := h.sendBody(up, framing, rechunk)
	late := err != nil && h.cutShort(err, time.Now())
	ended := h.body.stop() && err == nil
	if ended && r.KeepAlive && framing != http1.UntilClose && up.in.len() == 0 {
		up.up.put(up)
	} else {
		up.close()
	}
	h.finish(err, late)
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

// delivery says how an answer of that framing goes to the application: chunk by
// chunk, until the connection's end, and whether the connection lives on.
func (h *httpConn) delivery(framing http1.Framing) (rechunk, untilClose, keep bool) {
	rechunk = (framing == http1.Chunked || framing == http1.UntilClose) && h.req.Minor == 1
	untilClose = framing >= http1.Chunked && !rechunk
	return rechunk, untilClose, h.req.KeepAlive && !untilClose && !h.c.server.draining.Load()
}

// cutShort says that the route's timeout has ended a wait for the upstream.
func (h *httpConn) cutShort(err error, now time.Time) bool {
	return isTimeout(err) && !isWriteError(err) && h.clock.overdue(now) == routeOverdue
}

// finish writes the request's line in the access log. late says that an answer broke off
// because of the route's timeout.
func (h *httpConn) finish(err error, late bool) {
	e := &h.entry
	e.received = h.body.bytes.Load()
	flags := ""
	switch {
	case err == nil:
		e.details = "via_upstream"
	case isWriteError(err) && !isTimeout(err):
		flags, e.details = "DC", "downstream_remote_disconnect"
	case late:
		flags, e.details = "UT", "response_timeout"
	default:
		flags, e.details, _ = brokenOff(err)
	}
	e.flags = h.tries.flags(flags)
	h.c.server.record(e)
}

// abortAnswer ends the connection in the middle of an answer. Where only the end
// of the connection ends the body, nothing but a reset tells half from whole.
func (c *connection) abortAnswer(untilClose bool) {
	if untilClose {
		c.abort()
		return
	}
	c.tcp.Close()
}

// appendHead writes the response head into h.back.
func (h *httpConn) appendHead(framing http1.Framing, rechunk, keep bool) {
	r, edits := &h.resp, h.edits.Response
	h.entry.keepStatus1(r.Fields)
	b := http1.AppendStatusLine(h.back[:0], r.Status, r.Reason)
	dated := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case f.Hop, f.ID == http1.Server:
		case f.ID == http1.ContentLength && (rechunk || framing == http1.UntilClose || lengthless(r.Status)):
		case edits.Drops(view(f.Name)):
		case f.ID == http1.Date:
			dated = true
			b = f.Append(b)
		default:
			b = f.Append(b)
		}
	}
	b = h.appendOwn(b, dated)
	if rechunk {
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	b = h.appendConnection(b, keep)
	h.back = append(b, "\r\n"...)
	h.entry.headSent = int64(len(h.back))
}

// appendOwn writes the fields of an upstream's answer that are the proxy's, and those
// that the rule puts there. dated says that the answer has a date.
func (h *httpConn) appendOwn(b []byte, dated bool) []byte {
	edits := h.edits.Response
	if !dated && !edits.Puts("date") {
		b = appendDate(b)
	}
	b = append(b, "server: envoy\r\n"...)
	h.entry.serviceTime = time.Since(h.entry.onward())
	if !edits.Drops(serviceTimeField) {
		b = append(b, serviceTimeField+": "...)
		b = strconv.AppendInt(b, h.entry.serviceTime.Milliseconds(), 10)
		b = append(b, "\r\n"...)
	}
	return edits.AppendLines(b)
}

// writeError is a failure of the application's side.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

func isWriteError(err error) bool {
	var wrote *writeError
	return errors.As(err, &wrote)
}

func (h *httpConn) flush() error {
	if len(h.back) == 0 {
		return nil
	}
	h.write.within(time.Now(), h.c.server.cfg.StreamIdleTimeout)
	_, err := h.c.tcp.Write(h.back)
	h.back = h.back[:0]
	if err != nil {
		return &writeError{err}
	}
	return nil
}

// sendBody sends the head in h.back and the body after it, as few writes as can be.
func (h *httpConn) sendBody(up *upstreamConn, framing http1.Framing, rechunk bool) error {
	switch framing {
	case http1.NoBody:
		return h.flush()
	case http1.Length:
		return h.sendLength(up, h.resp.ContentLength)
	case http1.Chunked:
		return h.sendChunked(up, rechunk)
	}
	return h.sendUntilClose(up, rechunk)
}

func (h *httpConn) sendLength(up *upstreamConn, remaining int64) error {
	for {
		data := up.in.bytes()
		data = data[:min(int64(len(data)), remaining)]
		h.back = append(h.back, data...)
		up.in.discard(len(data))
		remaining -= int64(len(data))
		h.entry.sent += int64(len(data))
		if err := h.flush(); err != nil || remaining == 0 {
			return err
		}
		if remaining >= spliceFrom {
			return h.sendRest(up, remaining)
		}
		if err := h.fillFrom(up); err != nil {
			return err
		}
	}
}

func (h *httpConn) sendChunked(up *upstreamConn, rechunk bool) error {
	var chunks http1.ChunkReader
	for {
		data, n, done, bad := chunks.Next(up.in.bytes())
		if bad != nil {
			return bad
		}
		if done {
			h.entry.keepStatus1(chunks.Trailers)
			if rechunk {
				h.back = http1.AppendLastChunk(h.back, chunks.Trailers)
			}
			up.in.discard(n)
			return h.flush()
		}
		h.appendData(data, rechunk)
		up.in.discard(n)
		if n > 0 && len(h.back) < flushAt {
			continue
		}
		if err := h.flush(); err != nil {
			return err
		}
		if n == 0 {
			if err := h.fillFrom(up); err != nil {
				return err
			}
		}
	}
}

func (h *httpConn) sendUntilClose(up *upstreamConn, rechunk bool) error {
	for {
		h.appendData(up.in.bytes(), rechunk)
		up.in.discard(up.in.len())
		if err := h.flush(); err != nil {
			return err
		}
		err := h.await(up, true)
		if err == io.EOF { // not errNoGoodbye, which may be a cut (RFC 9112 §9.8)
			if rechunk {
				h.back = http1.AppendLastChunk(h.back, nil)
			}
			return h.flush()
		}
		if err != nil {
			return err
		}
	}
}

func (h *httpConn) appendData(data []byte, rechunk bool) {
	if len(data) == 0 {
		return
	}
	h.entry.sent += int64(len(data))
	if !rechunk {
		h.back = append(h.back, data...)
		return
	}
	h.back = http1.AppendChunkHead(h.back, len(data))
	h.back = append(append(h.back, data...), "\r\n"...)
}

func (h *httpConn) fillFrom(up *upstreamConn) error {
	err := h.await(up, true)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
