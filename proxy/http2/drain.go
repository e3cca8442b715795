package http2

import "time"

// draining is the graceful end of a server connection (RFC 9113 §6.8): a GOAWAY
// that refuses nothing, then, when the peer has had time to see it, one that
// names the last stream that will be served.
type draining struct {
	wanted, announced, final bool
	late                     *time.Timer
}

// drainPing is the PING whose answer shows that the peer has seen the first GOAWAY.
var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

// drainGrace is how long that answer may take.
const drainGrace = time.Second

// firstGrace is how long a client that has just connected has for its first request.
const firstGrace = 5 * time.Second

// Shutdown lets the streams under way finish and takes no more of them. The
// connection ends with the last. A client that has not asked for anything yet is told
// with its first request: some take a GOAWAY before that for a server that is not there.
func (c *Conn) Shutdown() {
	c.mu.Lock()
	defer c.unlock()
	if c.err != nil || c.wanted {
		return
	}
	c.wanted = true
	switch {
	case c.client:
		c.ending, c.final = true, true
		c.drained()
	case c.lastID == 0:
		c.late = time.AfterFunc(firstGrace, func() {
			c.mu.Lock()
			defer c.unlock()
			c.announce()
		})
	default:
		c.announce()
	}
}

// announce refuses nothing yet. Called with mu held.
func (c *Conn) announce() {
	if c.err != nil || c.announced {
		return
	}
	c.announced = true
	if c.late != nil {
		c.late.Stop()
	}
	c.out = appendGoAway(c.out, maxStreamID, NoError, "")
	c.out = appendPing(c.out, 0, drainPing)
	c.flush()
	c.late = time.AfterFunc(drainGrace, func() {
		c.mu.Lock()
		defer c.unlock()
		c.lastCall()
	})
}

// lastCall refuses streams from now on. Called with mu held.
func (c *Conn) lastCall() {
	if c.err != nil || c.final {
		return
	}
	c.final, c.ending = true, true
	c.out = appendGoAway(c.out, c.lastID, NoError, "")
	c.flush()
	c.drained()
}

// drained ends a connection that has nothing left to do. Called with mu held.
func (c *Conn) drained() {
	if c.err == nil && c.final && len(c.streams) == 0 {
		c.end(ErrClosed)
	}
}
