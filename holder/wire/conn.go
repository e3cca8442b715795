package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const headerSize = 12

// Errors of a connection that speaks something else. After any error of Receive but
// a deadline before a frame's first byte, and ErrTruncated, the connection is of no more
// use. With ErrTruncated comes the message, without any of its descriptors.
var (
	ErrNotOurs   = errors.New("not a frame of the holder's protocol")
	ErrVersion   = errors.New("a version of the holder's protocol that this build does not speak")
	ErrTooLong   = fmt.Errorf("a payload of more than %d bytes", MaxPayload)
	ErrFiles     = errors.New("not as many descriptors as the frame says")
	ErrTruncated = errors.New("descriptors were lost on the way: this process may have no more open (raise its limit of open files)")
)

// Conn is one end of a connection. One goroutine may receive while others send.
type Conn struct {
	c    *net.UnixConn
	send sync.Mutex
}

// NewConn makes a Conn of a connected stream socket, and takes it over.
func NewConn(c *net.UnixConn) *Conn { return &Conn{c: c} }

// Dial connects to the holder's socket.
func Dial(ctx context.Context, path string) (*Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return NewConn(c.(*net.UnixConn)), nil
}

// Close ends the connection; a Receive under way returns.
func (c *Conn) Close() error { return c.c.Close() }

// Peer is who is at the other end, as the kernel recorded it when they connected
// (SO_PEERCRED, unix(7)).
func (c *Conn) Peer() (*unix.Ucred, error) {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	failed := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(failed, err)
}

// Send writes one frame within FrameTimeout. payload may be nil, or a json.RawMessage;
// the files stay the caller's.
func (c *Conn) Send(k Kind, payload any, files ...*os.File) error {
	return withDescriptors(files, nil, func(fds []int) error { return c.SendRaw(k, payload, fds...) })
}

// SendRaw is Send with descriptors that no os.File has.
func (c *Conn) SendRaw(k Kind, payload any, fds ...int) error {
	frame, err := encode(k, payload, len(fds))
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	c.send.Lock()
	defer c.send.Unlock()
	if err := c.c.SetWriteDeadline(time.Now().Add(FrameTimeout)); err != nil {
		return err
	}
	// The kernel attaches the descriptors to the first byte that it takes, however
	// many those are.
	n, _, err := c.c.WriteMsgUnix(frame, rights, nil)
	if err == nil && n < len(frame) {
		_, err = c.c.Write(frame[n:])
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", k, err)
	}
	return nil
}

func encode(k Kind, payload any, files int) ([]byte, error) {
	if files > MaxFiles {
		return nil, fmt.Errorf("send %s: %d descriptors: at most %d go with a frame", k, files, MaxFiles)
	}
	var body []byte
	if payload != nil {
		var err error
		if body, err = json.Marshal(payload); err != nil {
			return nil, fmt.Errorf("send %s: %w", k, err)
		}
	}
	if len(body) > MaxPayload {
		return nil, fmt.Errorf("send %s: %w (%d)", k, ErrTooLong, len(body))
	}
	frame := make([]byte, headerSize, headerSize+len(body))
	copy(frame, "SLU")
	frame[3], frame[4], frame[5] = Version, byte(k), byte(files)
	binary.BigEndian.PutUint32(frame[8:], uint32(len(body)))
	return append(frame, body...), nil
}

// Receive reads one frame. deadline bounds the wait for its first byte and all of it;
// zero waits for ever for the first. From there on a frame has FrameTimeout. io.EOF is
// the end of the connection between two frames.
func (c *Conn) Receive(deadline time.Time) (Message, error) {
	m, fds, err := c.ReceiveRaw(deadline)
	for _, fd := range fds {
		m.Files = append(m.Files, os.NewFile(uintptr(fd), m.Kind.String()))
	}
	return m, err
}

// ReceiveRaw is Receive with bare descriptors, which the caller closes. An os.File of
// a socket that does not block is watched by the runtime: a process that only keeps
// listeners would wake for every connection that comes to them.
func (c *Conn) ReceiveRaw(deadline time.Time) (m Message, fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	if err := c.c.SetReadDeadline(deadline); err != nil {
		return m, nil, err
	}
	header, fds, err := c.header(deadline)
	truncated := errors.Is(err, ErrTruncated)
	if err != nil && !truncated {
		return m, fds, err
	}
	m.Kind = Kind(header[4])
	switch length := binary.BigEndian.Uint32(header[8:]); {
	case string(header[:3]) != "SLU":
		return m, fds, ErrNotOurs
	case header[3] < MinVersion || header[3] > Version:
		return m, fds, fmt.Errorf("%w: %d; it speaks %d to %d", ErrVersion, header[3], MinVersion, Version)
	case int(header[5]) != len(fds) && !truncated:
		return m, fds, fmt.Errorf("%w: %d instead of %d", ErrFiles, len(fds), header[5])
	case length > MaxPayload:
		return m, fds, fmt.Errorf("%w (%d)", ErrTooLong, length)
	default:
		m.Payload, err = c.payload(int64(length))
		if err == nil && truncated {
			err = ErrTruncated
		}
		return m, fds, err
	}
}

// header reads twelve bytes and what descriptors come with them.
func (c *Conn) header(deadline time.Time) (header [headerSize]byte, fds []int, err error) {
	rights := make([]byte, unix.CmsgSpace(4*MaxFiles))
	truncated := false
	for got := 0; got < headerSize; {
		n, oobn, flags, _, err := c.c.ReadMsgUnix(header[got:], rights)
		more, badRights := descriptorsIn(rights[:max(oobn, 0)])
		fds = append(fds, more...)
		truncated = truncated || flags&unix.MSG_CTRUNC != 0
		switch {
		case badRights != nil:
			return header, fds, badRights
		case err == nil && n == 0, errors.Is(err, io.EOF):
			if got == 0 {
				return header, fds, io.EOF
			}
			return header, fds, io.ErrUnexpectedEOF
		case err != nil:
			return header, fds, err
		}
		if got == 0 {
			if err := c.c.SetReadDeadline(sooner(deadline, time.Now().Add(FrameTimeout))); err != nil {
				return header, fds, err
			}
		}
		got += n
	}
	if truncated {
		return header, fds, ErrTruncated
	}
	return header, fds, nil
}

// payload reads as much as was announced. Memory grows with what comes, not with what
// is announced. Descriptors that ride on it are closed by the kernel: nobody asks for
// them.
func (c *Conn) payload(length int64) (json.RawMessage, error) {
	if length == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, c.c, length); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b.Bytes(), nil
}

func sooner(a, b time.Time) time.Time {
	if !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}
