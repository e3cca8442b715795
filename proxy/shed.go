package proxy

import (
	"time"
)

// Bounds of what is done for connections that are over the limit.
const (
	shedders    = 64          // of them are read at a time; the others are reset at once
	shedTimeout = time.Second // for a request's head
	relievers   = 16          // wait for a descriptor that idle connections give up
)

// shed turns a connection over the limit away: HTTP with 503, if its head comes
// soon and few others are waiting for theirs, everything else with a reset.
func (s *Server) shed(c *connection, why *overload) {
	select {
	case s.shedding <- struct{}{}:
	default:
		s.sayOverload(why.Error())
		c.abort()
		return
	}
	s.handlers.Go(func() {
		defer func() { <-s.shedding }()
		defer c.closeSocket()
		defer c.in.release()
		defer c.contain()
		c.overLimit(why)
	})
}

// overLimit answers the first request of a connection that is not served.
func (c *connection) overLimit(why *overload) {
	c.dst, _ = c.server.cfg.OriginalDst(c.fd, c.src) // for the log
	if c.bePolled() != nil {
		c.abort()
		return
	}
	c.deadline.cap(time.Now().Add(shedTimeout))
	k := unknown
	for k == unknown && c.in.fill(c.tcp) == nil {
		k = sniff(c.in.bytes())
	}
	if k == isHTTP1 {
		h := httpConnPool.Get().(*httpConn)
		h.c = c
		h.write.set = c.tcp.SetWriteDeadline
		defer func() { h.forget(); httpConnPool.Put(h) }()
		if h.readHead() {
			h.begin(time.Now())
			h.entry.failure, h.entry.refusal = why, Overloaded
			r := *overflow()
			r.close = true
			h.reply(r)
			return
		}
	}
	e := c.entry("tcp")
	e.fail(why)
	c.abort()
	c.server.record(e)
}
