package proxy

import (
	"errors"
	"io"
	"net"
)

// errNoGoodbye is a TLS connection whose TCP ended before TLS did: what was read
// may be half of what was sent.
var errNoGoodbye = errors.New("the server closed the connection without ending TLS")

// underTLS is a TCP connection that TLS runs over. crypto/tls reads no further
// than a close_notify, so an end that it meets is one without; it would report
// io.EOF for both.
type underTLS struct{ *net.TCPConn }

func (c underTLS) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if err == io.EOF {
		err = errNoGoodbye
	}
	return n, err
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
