package http2

import "time"

// flush sends what is in out: at once where that takes no waiting, else by a
// goroutine of its own, so that nobody who has something to say is held up by a
// peer that does not read. Called with mu held, which it may free meanwhile.
func (c *Conn) flush() {
	if c.writing || len(c.out) == 0 || c.deaf {
		return
	}
	c.writing = true
	if c.cfg.Try != nil && c.tryOut() {
		c.writing = false
		return
	}
	c.owned.Go(c.writeOut)
}

// tryOut writes without waiting and says whether all of it is gone.
func (c *Conn) tryOut() bool {
	for range 4 {
		b := c.take()
		c.mu.Unlock()
		n, err := c.cfg.Try(b)
		c.mu.Lock()
		if err != nil {
			c.end(err)
			c.out = c.out[:0]
			return true
		}
		if n < len(b) {
			c.rest, c.spare = append(c.rest[:0], b[n:]...), b[:0]
			return false
		}
		c.give(b)
		if len(c.out) == 0 {
			return true
		}
	}
	return false
}

// writeOut writes until nothing is left.
func (c *Conn) writeOut() {
	c.mu.Lock()
	defer c.unlock()
	for len(c.rest) > 0 || len(c.out) > 0 {
		b := c.rest
		if len(b) == 0 {
			b = c.take()
		}
		limit := c.cfg.StreamIdle
		if c.err != nil {
			limit = time.Second // for the last words
		}
		c.extend(limit)
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		if len(c.rest) > 0 {
			c.rest = c.rest[:0]
		} else {
			c.give(b)
		}
		if err != nil {
			c.end(err)
			c.out = c.out[:0]
			break
		}
	}
	if cap(c.rest) > maxPending {
		c.rest = nil
	}
	if c.cfg.Try != nil { // which would meet the deadline long after
		c.writeBy = time.Time{}
		c.nc.SetWriteDeadline(c.writeBy)
	}
	c.writing = false
}

// extend moves the deadline of writes when it has come near.
func (c *Conn) extend(limit time.Duration) {
	now := time.Now()
	if left := c.writeBy.Sub(now); left < limit || left > 2*limit {
		c.writeBy = now.Add(limit + limit/8)
		c.nc.SetWriteDeadline(c.writeBy)
	}
}

// take empties out.
func (c *Conn) take() []byte {
	b := c.out
	c.out, c.spare = c.spare[:0], nil
	return b
}

// give takes written memory back and wakes those who wait for room.
func (c *Conn) give(b []byte) {
	if cap(b) <= 4*maxPending {
		c.spare = b[:0]
	}
	c.wakeWaiting()
}

func (c *Conn) wakeWaiting() {
	for i, s := range c.waiting {
		s.queued = false
		s.writable.Signal()
		c.waiting[i] = nil
	}
	c.waiting = c.waiting[:0]
}

// control reports whether there is room for a frame that answers the peer's. A
// peer that makes us write and does not read is cut off.
func (c *Conn) control() *ConnError {
	if len(c.out)+len(c.rest) > maxBacklog {
		return connError(EnhanceYourCalm, "too many frames wait to be read")
	}
	return nil
}
