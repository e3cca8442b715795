package http2

import (
	"errors"
	"time"
)

// ErrSilent is the end of a connection whose peer did not answer a PING in time.
var ErrSilent = errors.New("http2: the peer did not answer a PING in time")

// alivePing is the PING whose answer shows that the peer is there.
var alivePing = [8]byte{'a', 'l', 'i', 'v', 'e'}

// keepAlive asks whether the peer is there, Config.Ping after its last answer. It belongs
// to who holds mu.
type keepAlive struct {
	timer *time.Timer // nil: it does not ask
	asked bool
}

func (c *Conn) beginKeepAlive() {
	if c.cfg.Ping > 0 {
		c.mu.Lock()
		c.alive.timer = time.AfterFunc(c.cfg.Ping, c.askWhetherAlive)
		c.mu.Unlock()
	}
}

// askWhetherAlive asks, or ends the connection where there was no answer.
func (c *Conn) askWhetherAlive() {
	c.mu.Lock()
	silent := c.alive.asked
	switch {
	case c.err != nil:
	case silent:
		c.end(ErrSilent)
	default:
		c.alive.asked = true
		c.out = appendPing(c.out, 0, alivePing)
		c.alive.timer.Reset(c.cfg.PingTimeout)
		c.flush()
	}
	c.unlock()
	if silent {
		c.nc.Close()
	}
}

// isAlive notes an answer, which ended connections do not need.
func (c *Conn) isAlive() {
	if c.alive.asked && c.err == nil {
		c.alive.asked = false
		c.alive.timer.Reset(c.cfg.Ping)
	}
}
