package http2

import (
	"net"
	"time"
)

// Client makes a connection that sends requests. Run has to be called; streams
// may be opened at once.
func Client(nc net.Conn, cfg Config) *Conn {
	c := newConn(nc, cfg, true)
	c.hello()
	c.beginKeepAlive()
	return c
}

// Run reads the connection until it ends, and says why it did. The caller closes
// what is under it.
func (c *Conn) Run() error {
	err := c.read()
	c.owned.Wait()
	return err
}

// Room is how many streams may be opened now; it is below zero when no stream
// will ever be again.
func (c *Conn) Room() int {
	c.mu.Lock()
	defer c.unlock()
	return c.room()
}

// AllowsNone says that the peer has forbidden every stream.
func (c *Conn) AllowsNone() bool {
	c.mu.Lock()
	defer c.unlock()
	return c.told && c.peer.maxStreams == 0
}

func (c *Conn) room() int {
	if c.ending || c.lastID >= maxStreamID-1 {
		return -1
	}
	return int(min(c.peer.maxStreams, c.cfg.MaxStreams)) - len(c.streams)
}

// Open sends a request's head, pseudo-header fields first, on a new stream. It
// returns ErrUnprocessed when the connection takes no more. The head is on its
// way after Flush.
func (c *Conn) Open(fields []Field, isHead, end bool) (*Stream, error) {
	c.mu.Lock()
	defer c.unlock()
	if c.room() <= 0 {
		return nil, ErrUnprocessed
	}
	id := c.lastID + 2
	if c.lastID == 0 {
		id = 1
	}
	c.lastID = id
	s := c.newStream(id)
	s.isHead = isHead
	s.writeHead(fields, end)
	return s, nil
}

// IdleFor says how long no stream has been open; 0 while one is.
func (c *Conn) IdleFor(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.unlock()
	if len(c.streams) > 0 {
		return 0
	}
	return now.Sub(c.idleSince)
}
