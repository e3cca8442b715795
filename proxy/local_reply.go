package proxy

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// localReply is an answer the proxy gives itself, in Envoy's words.
type localReply struct {
	status  int
	body    string
	flags   string
	details string
	close   bool         // the connection ends after it
	failure mesh.Failure // of a try that got no answer: another may be worth while
	reason  string       // of the reset, in Envoy's words; the body is made of it
	extra   http2.Field  // beside the usual ones; none without a name
	grpc    int          // one more than the grpc-status that gRPC gets; 0: that of status
}

// Error is why a try got no answer, as response_code_details has it.
func (r *localReply) Error() string { return r.details }

// form is a reply as fields, but for what frames it, and a body: to a gRPC request in
// gRPC's form, which e is told of.
func (r localReply) form(e *entry, isHead bool, edits *mesh.HeaderEdits) ([]http2.Field, string) {
	body := r.body
	fields := make([]http2.Field, 0, 8)
	switch {
	case e.grpc:
		e.status, e.grpcStatus, body = 200, grpcStatus(r), ""
		fields = append(fields, grpcFields(r, isHead)...)
	case !hasBody(r.status):
		body = ""
	case body != "":
		fields = append(fields, http2.Field{Name: "content-type", Value: "text/plain"})
	}
	if r.extra.Name != "" {
		fields = append(fields, r.extra)
	}
	return complete(fields, edits), body
}

// hasBody says that answers with that status may have a body (RFC 9110 §6.4.1).
func hasBody(status int) bool { return !lengthless(status) && status != 304 }

// reply sends a local reply and says whether the connection goes on. It cannot where
// the rest of the request's body has not been read. One without a status is only recorded: nobody is there to be answered.
func (h *httpConn) reply(r localReply) bool {
	e := &h.entry
	e.status, e.flags, e.details = r.status, r.flags, r.details
	if r.status == 0 {
		h.c.server.record(e)
		return false
	}
	fields, body := r.form(e, h.isHead, h.edits.Response)
	keep := !r.close && h.req.KeepAlive && h.body.discardBuffered() && !h.c.server.draining.Load()
	b := http1.AppendStatusLine(h.back[:0], e.status, reasonBytes(e.status))
	if hasBody(e.status) {
		b = append(b, "content-length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = appendFields1(b, fields)
	b = h.appendConnection(b, keep)
	b = append(b, "\r\n"...)
	e.headSent = int64(len(b))
	h.write.within(time.Now(), h.c.server.cfg.StreamIdleTimeout)
	var err error
	switch {
	case h.isHead:
		_, err = h.c.tcp.Write(b)
	case len(body) <= flushAt:
		b = append(b, body...)
		_, err = h.c.tcp.Write(b)
		e.sent = int64(len(body))
	default: // a rule's own, which no connection keeps a copy of
		var n int64
		n, err = (&net.Buffers{b, bytesOf(body)}).WriteTo(h.c.tcp)
		e.sent = max(n-e.headSent, 0)
	}
	h.back = b
	h.c.server.record(e)
	if err != nil {
		return false
	}
	if !keep {
		h.end()
	}
	return keep
}

// appendConnection says what becomes of the connection, where the version does
// not say it by itself.
func (h *httpConn) appendConnection(b []byte, keep bool) []byte {
	switch {
	case !keep:
		b = append(b, "connection: close\r\n"...)
	case h.req.Minor == 0:
		b = append(b, "connection: keep-alive\r\n"...)
	}
	return b
}

// end closes the connection after an answer: at once when the application has all
// of it and has sent nothing more, else gently.
func (h *httpConn) end() {
	if !h.body.sent() || h.c.in.len() > 0 || h.c.unsettled() {
		h.c.closeGently()
	}
}

// unsettled is settled's opposite for a connection that a goroutine has.
func (c *connection) unsettled() bool {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return false
	}
	left := false
	raw.Control(func(fd uintptr) { left = !settled(int(fd)) })
	return left
}

// settled says that nothing waits on a socket in either direction. Bytes that nobody
// has read when it is closed, and those that come later, are answered with a reset,
// which destroys what the peer does not have yet.
func settled(fd int) bool {
	if n, errno := peek(uintptr(fd)); n > 0 && errno == 0 {
		return false
	}
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return err != nil || n == 0
}

// Bounds of what closeGently reads and waits.
const (
	lingerBytes = 1 << 20
	lingerTime  = 2 * time.Second
)

// closeGently ends a connection on which the application may still be sending: a
// plain close would answer those bytes with a reset, which can destroy the reply
// before it is read (RFC 9112 §9.6).
func (c *connection) closeGently() {
	c.tcp.CloseWrite()
	c.deadline.at(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c.tcp, lingerBytes)
}

// date is the Date field's line, made once a second.
var date atomic.Pointer[dateLine]

type dateLine struct {
	second int64
	value  string
	line   []byte
}

func appendDate(b []byte) []byte { return append(b, dateNow(time.Now()).line...) }

func dateNow(now time.Time) *dateLine {
	d := date.Load()
	if d == nil || d.second != now.Unix() {
		value := now.UTC().Format(http.TimeFormat)
		d = &dateLine{now.Unix(), value, []byte("date: " + value + "\r\n")}
		date.Store(d)
	}
	return d
}

// reasonPhrases are made ready as bytes; http.StatusText has the words.
var reasonPhrases = func() (all [600][]byte) {
	for code := range all {
		all[code] = []byte(http.StatusText(code))
	}
	return all
}()

func reasonBytes(status int) []byte {
	if status < 0 || status >= len(reasonPhrases) {
		return nil
	}
	return reasonPhrases[status]
}

func reasonPhrase(status int) string { return string(reasonBytes(status)) }
