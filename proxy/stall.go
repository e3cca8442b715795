package proxy

import (
	"io"
	"time"
)

// stall is a wait for the server on which an application depends. It ends when
// nothing has moved for Config.StreamIdleTimeout, of the request neither, and when
// the application has left.
type stall struct {
	h        *httpConn
	up       *upstreamConn
	begun    bool // the answer has
	since    time.Time
	received int64 // of the request, when that was last looked at
	d        departure
}

func (h *httpConn) waitFor(up *upstreamConn, begun bool) stall {
	return stall{h: h, up: up, begun: begun, since: time.Now(), received: h.body.bytes.Load(), d: departure{c: h.c}}
}

// over says why the wait, for which a read has just ended with timeout, is over; nil
// where it goes on.
func (w *stall) over(timeout error) error {
	now := time.Now()
	if n := w.h.body.bytes.Load(); n != w.received {
		w.received, w.since = n, now
	}
	switch {
	case w.up.read.capped(now), now.Sub(w.since) >= w.h.c.server.cfg.StreamIdleTimeout:
		return timeout
	case !w.d.complete(now, w.begun):
		return nil
	case w.begun:
		return &writeError{errLeft}
	}
	return errLeft
}

// await reads once from the server, as long as the application waits for it. begun
// says that the answer has.
func (h *httpConn) await(up *upstreamConn, begun bool) error {
	w := h.waitFor(up, begun)
	for {
		up.read.within(time.Now(), h.c.server.patience.look)
		err := up.in.fill(up.Conn)
		if err == nil || !isTimeout(err) {
			return err
		}
		if err := w.over(err); err != nil {
			return err
		}
	}
}

// sendRest has the kernel move the rest of an answer, where both ends are TCP. An
// application that takes nothing has twice the time, since what it takes slowly is
// not seen.
func (h *httpConn) sendRest(up *upstreamConn, remaining int64) error {
	s := h.c.server
	w := h.waitFor(up, true)
	for {
		now := time.Now()
		up.read.within(now, s.patience.look)
		h.write.at(now.Add(2 * s.cfg.StreamIdleTimeout))
		n, err := io.CopyN(h.c.tcp, up.Conn, remaining)
		h.entry.sent += n
		remaining -= n
		if n > 0 {
			w.since = time.Now()
		}
		switch {
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case !isTimeout(err):
			return err
		case time.Since(now) >= 2*s.cfg.StreamIdleTimeout:
			return &writeError{err}
		}
		if err := w.over(err); err != nil {
			return err
		}
	}
}
