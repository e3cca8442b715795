package unary

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
)

// maxMessage bounds what an answer may take. Container runtimes send at most 16 MiB.
const maxMessage = 16 << 20

// Client is a connection to a server that is made when it is needed and again when
// the server was restarted. Its methods may be used at the same time.
type Client struct {
	socket string
	http   *http.Client
}

// New is a client of the server that listens on the unix socket at path. A scheme
// unix:// is taken off.
func New(path string) *Client {
	if u, err := url.Parse(path); err == nil && u.Scheme == "unix" {
		path = u.Path
	}
	t := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &Client{socket: path, http: &http.Client{Transport: t}}
}

// Close ends the connection. A later call makes another.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is what the server answered in place of a result.
type Error struct {
	Method  string
	Code    int // of gRPC: 5 is "not found"
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: answered with error %d: %s", e.Method, e.Code, e.Message)
}

const codeNotFound = 5

// NotFound reports whether err says that the server does not know what it was asked
// about (any more).
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeNotFound
}

// Call makes one unary call, as in "runtime.v1.RuntimeService/Version", with an
// encoded request, and returns the encoded response. What the server answers in its
// place is an *Error. Where the connection breaks off, as that to a server which was
// restarted since, the call is made once more: methods should be questions.
func (c *Client) Call(ctx context.Context, method string, request []byte) ([]byte, error) {
	resp, err := c.post(ctx, method, request)
	if brokeOff(err) {
		resp, err = c.post(ctx, method, request)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.socket, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: it answers %s to %s; is this a socket of gRPC?", c.socket, resp.Status, method)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, prefix+maxMessage+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: read the answer: %w", method, err)
	case len(body) > prefix+maxMessage:
		return nil, fmt.Errorf("%s: the answer has more than %d bytes", method, maxMessage)
	}
	if err := status(method, resp); err != nil {
		return nil, err
	}
	return unframe(method, body)
}

func brokeOff(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (c *Client) post(ctx context.Context, method string, request []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/"+method, bytes.NewReader(frame(request)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	return c.http.Do(req)
}

// status reads how the call ended: from the trailers, or from the head where there is
// no body ("Trailers-Only" of gRPC's protocol over HTTP/2).
func status(method string, resp *http.Response) error {
	from := resp.Trailer
	if from.Get("Grpc-Status") == "" {
		from = resp.Header
	}
	code, err := strconv.Atoi(from.Get("Grpc-Status"))
	if err != nil {
		return fmt.Errorf("%s: the answer broke off before its status %q", method, from.Get("Grpc-Status"))
	}
	if code == 0 {
		return nil
	}
	message := from.Get("Grpc-Message")
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	return &Error{Method: method, Code: code, Message: message}
}

// prefix is what stands before each message of gRPC: whether it is compressed, and
// its length.
const prefix = 5

func frame(message []byte) []byte {
	out := make([]byte, prefix, prefix+len(message))
	binary.BigEndian.PutUint32(out[1:], uint32(len(message)))
	return append(out, message...)
}

func unframe(method string, body []byte) ([]byte, error) {
	switch {
	case len(body) < prefix:
		return nil, fmt.Errorf("%s: the answer has %d bytes and no message", method, len(body))
	case body[0] != 0:
		return nil, fmt.Errorf("%s: the answer is compressed, which nobody asked for", method)
	case uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-prefix):
		return nil, fmt.Errorf("%s: the answer has %d bytes after a prefix that says %d",
			method, len(body)-prefix, binary.BigEndian.Uint32(body[1:]))
	}
	return body[prefix:], nil
}
