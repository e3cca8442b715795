package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The two sides speak over a socket pair, one JSON message per packet:
//
//	outside                      inside
//	        ◀──────────────────  ready (descriptors attached), or an error
//	go      ──────────────────▶  drops privileges, execve
//	        ◀──────────────────  an error, or the end of the stream: it runs

// reply is what the inside says.
type reply struct {
	Error    string `json:",omitempty"`
	ExitCode int    `json:",omitempty"`
	// Denied marks missing privileges.
	Denied bool `json:",omitempty"`
	// Namespace is the one that was made.
	Namespace namespaceID
	// TCP, Packets and Streams count the descriptors attached, in this order.
	TCP, Packets, Streams int
}

// permission is what the outside says once it serves.
type permission struct{ Go bool }

// channel is one end of the socket pair.
type channel struct{ fd int }

const maxPacket = 64 << 10

func (c channel) send(v any, fds ...int) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return retry(func() error { return unix.Sendmsg(c.fd, data, rights, nil, unix.MSG_NOSIGNAL) })
}

var errClosed = errors.New("the other side is gone")

// receive reads one message into v and returns the descriptors that came with it.
func (c channel) receive(v any) ([]int, error) {
	data, rights := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4*16))
	var n, oobn int
	err := retry(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(c.fd, data, rights, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errClosed
	}
	fds, err := descriptors(rights[:oobn])
	if err != nil {
		return nil, err
	}
	return fds, json.Unmarshal(data[:n], v)
}

// limit bounds how long receive waits; zero waits for ever.
func (c channel) limit(d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	return unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

func (c channel) close() { unix.Close(c.fd) }

// channelPair makes both ends; the second is for a child process.
func channelPair() (channel, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return channel{}, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return channel{fds[0]}, os.NewFile(uintptr(fds[1]), "sandbox"), nil
}

func descriptors(rights []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var fds []int
	for _, m := range messages {
		more, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
