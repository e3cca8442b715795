package http2

import (
	"net"
	"time"
)

// Server makes a connection that answers requests. early is what has been read
// of it, from the preface's first byte. Serve has to be called.
func Server(nc net.Conn, early []byte, cfg Config) *Conn {
	c := newConn(nc, cfg, false)
	c.in.take(early)
	return c
}

// Serve reads the connection until it ends and its requests have been served,
// and says why it ended. The caller closes what is under it.
func (c *Conn) Serve() error {
	c.mu.Lock()
	c.hello()
	c.flush()
	c.unlock()
	err := c.preface()
	if err == nil {
		err = c.read()
	}
	c.owned.Wait()
	return err
}

// preface checks the client's first bytes.
func (c *Conn) preface() error {
	by := time.Now().Add(c.cfg.HeadTimeout)
	for {
		b := c.in.bytes()
		n := min(len(b), len(Preface))
		if string(b[:n]) != Preface[:n] {
			return c.fail(connError(ProtocolError, "not the preface of HTTP/2"))
		}
		if n == len(Preface) {
			c.in.r += n
			return nil
		}
		if time.Now().After(by) {
			return c.fail(connError(ProtocolError, "no preface in time"))
		}
		if err := c.fill(); err != nil {
			return c.fail(err)
		}
	}
}
