package proxy

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/loop"
)

// errNoGoodbye is a TLS connection whose TCP ended before TLS did: what was read
// may be half of what was sent.
var errNoGoodbye = errors.New("the server closed the connection without ending TLS")

// maxPending bounds what is kept in a lane for a server that does not read: more than
// any request there, less than endless answers to its key updates.
const maxPending = 256 << 10

var errNotReading = errors.New("the server asks for answers and does not read them")

// underTLS is the connection that TLS runs over: a TCP connection while a goroutine
// has it, the bare socket in a lane. crypto/tls reads no further than a
// close_notify, so an end that it meets is one without; it would report io.EOF for
// both.
//
// In a lane nothing waits. A read that finds nothing reports unix.EAGAIN, which
// crypto/tls takes for something that passes, and goes on from where it was at the
// next read. A write must not fail half-way, so what the socket does not take at
// once is kept until it does.
type underTLS struct {
	*net.TCPConn
	lane    *laneUpstream
	pending []byte
}

func (c *underTLS) enter(up *laneUpstream) { c.lane = up }

// leave makes c a TCP connection again, which takes what is pending within patience.
func (c *underTLS) leave(tcp *net.TCPConn, patience time.Duration) error {
	c.lane, c.TCPConn = nil, tcp
	pending := c.pending
	c.pending = nil
	if len(pending) == 0 {
		return nil
	}
	tcp.SetWriteDeadline(time.Now().Add(patience))
	defer tcp.SetWriteDeadline(time.Time{})
	_, err := tcp.Write(pending)
	return err
}

func (c *underTLS) Read(b []byte) (int, error) {
	var n int
	var err error
	if c.lane != nil {
		n, err = c.lane.read(b)
	} else {
		n, err = c.TCPConn.Read(b)
	}
	if err == io.EOF {
		err = errNoGoodbye
	}
	return n, err
}

func (c *underTLS) Write(b []byte) (int, error) {
	if c.lane == nil {
		return c.TCPConn.Write(b)
	}
	n := 0
	if len(c.pending) == 0 {
		var err error
		if n, err = loop.Write(c.lane.sock.fd, b); err != nil && err != unix.EAGAIN {
			return 0, err
		}
	}
	if len(c.pending)+len(b)-n > maxPending {
		return 0, errNotReading
	}
	c.pending = append(c.pending, b[n:]...)
	return len(b), nil
}

// flush writes what the socket did not take. An error shows at the next read.
func (c *underTLS) flush() {
	for len(c.pending) > 0 {
		n, err := loop.Write(c.lane.sock.fd, c.pending)
		if err != nil {
			return
		}
		c.pending = c.pending[n:]
	}
	c.pending = nil
}

// Close and SetWriteDeadline are what crypto/tls calls to say goodbye; in a lane it
// is the lane that closes, and nothing waits.
func (c *underTLS) Close() error {
	if c.lane != nil {
		return nil
	}
	return c.TCPConn.Close()
}

func (c *underTLS) SetWriteDeadline(t time.Time) error {
	if c.lane != nil {
		return nil
	}
	return c.TCPConn.SetWriteDeadline(t)
}

// quiet reports whether TLS holds nothing that was read from the socket and not
// asked for: bytes behind an answer must not answer the next request.
func (c *upstreamConn) quiet() bool {
	if c.Conn == net.Conn(c.tcp) {
		return true
	}
	c.read.wake() // takes what is here and never waits
	defer c.read.resume()
	var b [1]byte
	n, err := c.Conn.Read(b[:])
	return n == 0 && isTimeout(err)
}
