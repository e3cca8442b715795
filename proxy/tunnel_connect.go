package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
)

// tunnelRefusal is the answer of a proxy that was asked for a tunnel and gives none.
type tunnelRefusal struct {
	asked  string // CONNECT example.com:443
	status int
	reason string
}

func (e *tunnelRefusal) Error() string {
	return fmt.Sprintf("the proxy answered %s with %d %s", e.asked, e.status, e.reason)
}

// through leads a connection to a proxy on to the tunnel's target. The proxy has as long
// to make its connection as we have to make ours to it. On error it is closed.
func (c *upstreamConn) through(ctx context.Context, t *mesh.Tunnel) (*upstreamConn, error) {
	if err := c.askForTunnel(ctx, t); err != nil {
		c.close()
		return nil, c.up.notMade(err)
	}
	return c, nil
}

// opaqueALPN is what is offered in TLS for opaque bytes: nothing, but to a proxy that is
// asked over HTTP/1.1.
func (u *upstream) opaqueALPN() []string {
	if u.cluster.Tunnel != nil {
		return []string{"http/1.1"}
	}
	return nil
}

// askForTunnel sends the request and reads the answer's head. What the proxy sends after
// it is the tunnel's.
func (c *upstreamConn) askForTunnel(ctx context.Context, t *mesh.Tunnel) error {
	c.tcp.SetDeadline(time.Now().Add(c.up.connectTimeout()))
	stop := context.AfterFunc(ctx, func() { c.tcp.SetDeadline(longAgo) })
	if _, err := c.Write(tunnelRequest(t)); err != nil {
		stop()
		return err
	}
	var resp http1.Response
	err := c.readTunnelAnswer(&resp)
	if !stop() {
		return ctx.Err()
	}
	c.tcp.SetDeadline(time.Time{})
	switch {
	case err != nil:
		return err
	case resp.Status < 200 || resp.Status > 299: // 101 too: nobody asked for that
		return &tunnelRefusal{t.Request(), resp.Status, clip(string(resp.Reason), maxReason)}
	case t.Post:
		c.Conn = newPostTunnel(c, resp.Body([]byte("POST")), resp.ContentLength)
	} // else a body that the head declares is none (RFC 9110 §9.3.6)
	return nil
}

// maxReason bounds what is told of a proxy's words.
const maxReason = 100

// tunnelRequest is Envoy's: nothing but what it takes.
func tunnelRequest(t *mesh.Tunnel) []byte {
	if t.Post {
		return []byte("POST / HTTP/1.1\r\nhost: " + t.Target + "\r\ntransfer-encoding: chunked\r\n\r\n")
	}
	return []byte("CONNECT " + t.Target + " HTTP/1.1\r\nhost: " + t.Target + "\r\n\r\n")
}

var errNoTunnelAnswer = errors.New("the proxy closed the connection instead of answering")

// readTunnelAnswer reads heads until one that is final.
func (c *upstreamConn) readTunnelAnswer(resp *http1.Response) error {
	for interims := 0; ; {
		n, malformed := 0, (*http1.Error)(nil)
		if c.in.len() > 0 {
			n, malformed = resp.Parse(c.in.bytes())
		}
		switch {
		case malformed != nil:
			return fmt.Errorf("the proxy's answer is not HTTP: %w", malformed)
		case n > 0 && (resp.Status >= 200 || resp.Status == 101):
			c.in.discard(n)
			return nil
		case n > 0:
			c.in.discard(n)
			if interims++; interims > maxInterims {
				return tooManyInterims
			}
			continue
		}
		switch err := c.in.fill(c.Conn); {
		case err == io.EOF, errors.Is(err, errNoGoodbye):
			return errNoTunnelAnswer
		case errors.Is(err, errBufferFull):
			return tooLarge
		case err != nil:
			return err
		}
	}
}

// tunnelHint says what to do about a proxy's refusal.
func tunnelHint(err error) string {
	var refused *tunnelRefusal
	switch {
	case !errors.As(err, &refused):
		return ""
	case refused.status == 407:
		return "the proxy asks for credentials, which sluice has none of: let it admit this pod by its address"
	}
	return "the proxy's own rules decide that; the target is tunnel in the DestinationRule"
}
