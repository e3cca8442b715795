package proxy

import (
	"errors"
	"io"
	"net"

	"github.com/sluice-cni/sluice/proxy/http1"
)

// postTunnel is a tunnel that is the body of a POST, in chunks, and the body of its
// answer. One goroutine reads and one writes.
type postTunnel struct {
	net.Conn // to the proxy
	in       buffer
	framing  http1.Framing
	chunks   http1.ChunkReader
	length   int64  // what is left of a body with a length
	data     []byte // taken from in, not yet read
	ended    bool
	out      []byte
}

// newPostTunnel goes on where the answer's head ends; c's buffer is its from then on.
func newPostTunnel(c *upstreamConn, framing http1.Framing, length int64) *postTunnel {
	p := &postTunnel{Conn: c.Conn, in: c.in, framing: framing, length: length, ended: framing == http1.NoBody}
	c.in = buffer{memory: c.in.memory}
	return p
}

func (p *postTunnel) Read(b []byte) (int, error) {
	for len(p.data) == 0 {
		if p.ended {
			return 0, io.EOF
		}
		more, err := p.next()
		if err != nil {
			return 0, err
		}
		if !more {
			continue
		}
		err = p.in.fill(p.Conn)
		switch end := err == io.EOF || errors.Is(err, errNoGoodbye); {
		case end && p.framing == http1.UntilClose:
			p.ended = true
		case end:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	return n, nil
}

// next takes the next run of bytes that is here; more says that there is none.
func (p *postTunnel) next() (more bool, err error) {
	here := p.in.bytes()
	used := len(here)
	switch p.framing {
	case http1.Chunked:
		var malformed *http1.Error
		if p.data, used, p.ended, malformed = p.chunks.Next(here); malformed != nil {
			return false, malformed
		}
	case http1.Length:
		used = int(min(int64(used), p.length))
		p.data = here[:used]
		p.length -= int64(used)
		p.ended = p.length == 0
	default:
		p.data = here
	}
	p.in.discard(used)
	return used == 0 && !p.ended, nil
}

func (p *postTunnel) Write(b []byte) (int, error) {
	p.out = append(append(http1.AppendChunkHead(p.out[:0], len(b)), b...), "\r\n"...)
	if _, err := p.Conn.Write(p.out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite ends the request. The connection stays open for the answer, which a proxy
// might give up at a half-close.
func (p *postTunnel) CloseWrite() error {
	_, err := p.Conn.Write(http1.AppendLastChunk(p.out[:0], nil))
	return err
}

// Close is called when nobody reads any more.
func (p *postTunnel) Close() error {
	p.in.release()
	return p.Conn.Close()
}
