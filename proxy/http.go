package proxy

import (
	"net"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/loop"
)

// httpConn serves the HTTP/1.x requests of one connection, one after another.
// Everything it holds is reused from request to request.
type httpConn struct {
	c    *connection
	req  http1.Request
	resp http1.Response

	head      []byte // the request as it goes upstream; kept until it cannot be sent again
	back      []byte // bytes on their way to the application
	path      []byte // scratch for a path that had to be normalized
	rewritten []byte // and for one that a rule changed
	host      []byte // the request's host: lower case, no port, no trailing dot
	entry     entry  // the access log's line for this request

	headSize  int  // bytes of the request's head as they came
	isHead    bool // HEAD: the answer has no body
	upgrading bool // the request asks for a WebSocket
	body      requestBody
	write     deadline // on writes to the application

	to    decision  // where the request goes
	via   *upstream // and by what
	tries tries
	clock tryClock
	edits mesh.Edits // of its head and of its answer's
	lone  bool       // nothing about this exchange needed a goroutine

	unsent []byte     // in a lane: what is on its way out, of head or back
	rest   answerRest // in a lane: what is left of the answer
}

var httpConnPool = sync.Pool{New: func() any { return new(httpConn) }}

// serveHTTP answers requests until one side wants the connection closed.
func (c *connection) serveHTTP() {
	if c.tcp == nil { // it has waited for nothing yet
		c.parks = true
		return
	}
	h := httpConnPool.Get().(*httpConn)
	h.c = c
	h.write.rebind(c.tcp.SetWriteDeadline)
	c.serveRequests(h, (*httpConn).serveOne)
}

// serveRequests begins with first and goes on while requests may follow, or until
// the connection goes to a lane, which serves the usual ones more cheaply.
func (c *connection) serveRequests(h *httpConn, first func(*httpConn) bool) {
	for serve := first; serve(h); serve = (*httpConn).serveOne {
		if h.lone && c.mayPark() {
			c.parks = true
			break
		}
	}
	h.forget()
	httpConnPool.Put(h)
}

// forget drops what must not outlive the connection; the memory stays.
func (h *httpConn) forget() {
	h.c = nil
	h.write.rebind(nil)
	h.to, h.via, h.tries, h.unsent = decision{}, nil, tries{}, nil
	h.edits = mesh.Edits{}
	h.clock.begin(0, 0)
	h.entry = entry{}
	h.body.up, h.body.c = nil, nil
	if cap(h.body.out) > maxBufferSize {
		h.body.out = nil
	}
	if cap(h.head) > maxBufferSize || cap(h.back) > maxBufferSize {
		h.head, h.back = nil, nil
	}
}

// serveOne reads a request, answers it, and says whether another may follow.
func (h *httpConn) serveOne() bool {
	if !h.readHead() {
		return false
	}
	st := h.c.server.state.Load()
	h.begin(time.Now())
	return h.serve(st, h.route(st))
}

// carry takes the request where the decision leads, and its answer back.
func (h *httpConn) carry(st *state, d decision) bool {
	if speaksHTTP2(d.cluster, false) {
		return h.forwardHTTP2(st, d)
	}
	h.leadTo(st, d)
	h.encode(d.cluster)
	return h.deliver()
}

// leadTo begins the tries of a request to where the decision leads.
func (h *httpConn) leadTo(st *state, d decision) {
	h.to, h.via = d, st.upstream(d.cluster)
	h.tries.begin(h.c, h.via, &h.to, h.host)
	h.clock.begin(h.to.timeout(), h.tries.policy.PerTry)
	h.body.again.begin(&h.c.server.kept, h.replayLimit())
}

// replayLimit is how much of the request's body is kept for other tries.
func (h *httpConn) replayLimit() int {
	h2 := speaksHTTP2(h.to.cluster, false)
	switch {
	case h.req.ContentLength > maxReplay: // it would be given up in the end
	case h.tries.policy.Repeats(h2, h.entry.grpc):
		return maxReplay
	case h2:
		return minReplay
	}
	return 0
}

// readHead waits for a whole request head. Between requests it waits for long
// and may be woken to end; within a head it does not wait long.
func (h *httpConn) readHead() bool {
	c := h.c
	begun := false
	for {
		if c.in.len() > 0 {
			n, err := h.req.Parse(c.in.bytes())
			if err != nil {
				h.malformed(err)
				return false
			}
			if n > 0 {
				c.in.discard(n)
				h.headSize = n
				return true
			}
			if !begun { // once: a head that comes byte by byte gets no more time
				begun = true
				c.deadline.at(time.Now().Add(headTimeout))
			}
			err2 := c.in.fill(c.tcp)
			if err2 == errBufferFull {
				h.malformed(tooLarge)
				return false
			}
			if err2 == error(noMemory) {
				h.overMemory()
				return false
			}
			if err2 != nil {
				return false
			}
			continue
		}
		if !h.awaitRequest() {
			return false
		}
	}
}

// awaitRequest waits for the first byte of the next request.
func (h *httpConn) awaitRequest() bool {
	c := h.c
	now := time.Now()
	c.deadline.rest(now, idleTimeout)
	if c.server.draining.Load() {
		c.deadline.hurry(c.server.idleEnds(now))
	}
	err := c.in.fill(c.tcp)
	if c.deadline.rouse() && isTimeout(err) {
		err = c.in.fill(asIs{c.tcp}) // Go does not look any more at what is here by now
	}
	return err == nil
}

// asIs reads what is here of a connection, without waiting and whatever its deadline.
type asIs struct{ tcp *net.TCPConn }

func (a asIs) Read(b []byte) (n int, err error) {
	raw, err := a.tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	if ctl := raw.Control(func(fd uintptr) { n, err = loop.Read(int(fd), b) }); ctl != nil {
		return 0, ctl
	}
	return n, err
}

var tooLarge = &http1.Error{Status: 431, Detail: "http1.headers_too_large"}

// malformed answers bytes that are no acceptable request and ends the connection.
func (h *httpConn) malformed(err *http1.Error) {
	h.beginNone()
	h.entry.refusal = Malformed
	r := localReply{status: err.Status, close: true, flags: "DPE", details: err.Detail}
	switch {
	case err == http1.ErrMissingHost:
		r.flags = "-"
	case err.Status == 431:
		r.body = "Request Header Fields Too Large"
	default:
		r.body = reasonPhrase(err.Status)
	}
	h.reply(r)
}

// overMemory answers a head that there is no room for.
func (h *httpConn) overMemory() {
	h.beginNone()
	h.entry.failure, h.entry.refusal = noMemory, Overloaded
	r := *overflow()
	r.close = true
	h.reply(r)
}

// refuseGarbage answers what is not HTTP where only HTTP may be.
func (c *connection) refuseGarbage() {
	if c.bePolled() != nil {
		return
	}
	h := httpConnPool.Get().(*httpConn)
	h.c = c
	h.write.rebind(c.tcp.SetWriteDeadline)
	h.malformed(&http1.Error{Status: 400, Detail: "http1.not_http"})
	h.forget()
	httpConnPool.Put(h)
}

// beginNone is begin where no request could be read: nothing of an earlier one is left.
func (h *httpConn) beginNone() {
	h.isHead, h.body.complete = false, false
	h.edits = mesh.Edits{}
	h.entry = *h.c.entry("http")
}

// begin notes what is needed of the request after its buffer has moved on.
func (h *httpConn) begin(start time.Time) {
	r := &h.req
	h.isHead = string(r.Method) == "HEAD"
	h.upgrading = http1.EqualFold(r.UpgradeTo, "websocket")
	if r.Form == http1.Origin || r.Form == http1.Absolute {
		if path := http1.Normalize(r.Path, h.path); &path[0] != &r.Path[0] {
			h.path, r.Path = path, path
		}
	}
	h.host = appendHost(h.host[:0], r.Authority)
	h.lone = false
	h.edits = mesh.Edits{}
	e := &h.entry
	e.reset("http", start, h.c)
	e.method = append(e.method[:0], r.Method...)
	e.path = append(e.path[:0], r.Target...)
	e.authority = append(e.authority[:0], r.Authority...)
	e.version = versions[r.Minor]
	e.grpc, e.grpcStatus = isGRPC(view(r.ContentType)), -1
	e.headReceived = int64(h.headSize)
	if h.c.server.access != nil {
		e.keepFields(r)
	}
	h.body.begin(h.c, r)
}

var versions = [...]string{"HTTP/1.0", "HTTP/1.1"}

// keepFields notes what the access log wants of a head.
func (e *entry) keepFields(r *http1.Request) {
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.ID != http1.Other {
			continue
		}
		switch {
		case len(f.Name) == len("user-agent") && http1.EqualFold(f.Name, "user-agent"):
			e.userAgent = append(e.userAgent[:0], f.Value...)
		case len(f.Name) == len("x-request-id") && http1.EqualFold(f.Name, "x-request-id"):
			e.requestID = append(e.requestID[:0], f.Value...)
		case len(f.Name) == len("x-forwarded-for") && http1.EqualFold(f.Name, "x-forwarded-for"):
			e.forwardedFor = append(e.forwardedFor[:0], f.Value...)
		}
	}
}

// appendHost writes an authority's host the way names are compared: lower case,
// without port and trailing dot, IPv6 without brackets.
func appendHost(dst, authority []byte) []byte {
	a := authority
	if len(a) > 0 && a[0] == '[' {
		a = a[1:]
		for i, c := range a {
			if c == ']' {
				a = a[:i]
				break
			}
		}
	} else {
		for i := len(a) - 1; i >= 0; i-- {
			if a[i] == ':' {
				a = a[:i]
				break
			}
			if a[i] < '0' || a[i] > '9' {
				break
			}
		}
	}
	if len(a) > 1 && a[len(a)-1] == '.' {
		a = a[:len(a)-1]
	}
	for _, c := range a {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// route decides about the request under way.
func (h *httpConn) route(st *state) decision {
	r := &h.req
	switch r.Form {
	case http1.AuthorityForm:
		return refusal(404, "NR", "route_not_found")
	case http1.Asterisk:
		return refusal(404, "-", "absolute_path_rejected")
	}
	d := h.c.decide(st, h.host, requestView{h}, &h.entry)
	if d.undecided {
		return d
	}
	if d.status == 0 && d.cluster != passthrough && len(r.UpgradeTo) > 0 && !h.upgrading && !http1.EqualFold(r.UpgradeTo, "h2c") {
		d = refusal(403, "-", "upgrade_failed")
		d.close = true
	}
	h.follow(&d)
	return d
}
