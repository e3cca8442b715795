package escape

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// answerTime is how long the last datagram of an attempt may take to arrive.
const answerTime = 3 * time.Second

// Wire is the other end of a pod's cable. Close it.
type Wire struct {
	fd       int
	excluded uint16
}

// Watch opens the end of a cable that is an interface of this thread's namespace.
// Datagrams to the excluded port tell where an attempt ends.
func Watch(link int, excluded uint16) (*Wire, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("watch a cable: %w", err)
	}
	limit := unix.NsecToTimeval(answerTime.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: link}))
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch a cable: %w", err)
	}
	return &Wire{fd, excluded}, nil
}

// Close ends the watch.
func (w *Wire) Close() error { return unix.Close(w.fd) }

// Sentinel sends the datagram that says that an attempt is over.
func Sentinel(to netip.Addr, excluded, number uint16) error {
	return SendDatagram(to, excluded, binary.BigEndian.AppendUint16(nil, number))
}

// Until returns the frames that came before the sentinel with a number, without those
// of address resolution, which a network needs to work at all.
func (w *Wire) Until(number uint16) (seen [][]byte, err error) {
	for {
		frame, err := w.Next()
		if err != nil {
			return seen, fmt.Errorf("no frame says that the attempt is over: %w", err)
		}
		switch kind := w.kind(frame); {
		case kind == frameSentinel && binary.BigEndian.Uint16(frame[42:]) == number:
			return seen, nil
		case kind == frameOther:
			seen = append(seen, frame)
		}
	}
}

// Next is the next frame that arrives.
func (w *Wire) Next() ([]byte, error) {
	buf := make([]byte, 16<<10)
	for {
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			return nil, err
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype != unix.PACKET_OUTGOING {
			return buf[:n:n], nil
		}
	}
}

const (
	frameOther = iota
	frameResolution
	frameSentinel
)

// kind tells what a network needs to work at all from everything else.
func (w *Wire) kind(frame []byte) int {
	const etherHeader, ip6Header = 14, 40
	if len(frame) < etherHeader+20 {
		return frameOther
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_ARP:
		if request, reply := uint16(1), uint16(2); binary.BigEndian.Uint16(frame[20:]) == request || binary.BigEndian.Uint16(frame[20:]) == reply {
			return frameResolution
		}
	case unix.ETH_P_IP:
		if len(frame) >= 44 && frame[23] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(frame[36:]) == w.excluded {
			return frameSentinel
		}
	case unix.ETH_P_IPV6:
		next, at := frame[20], etherHeader+ip6Header
		if next == unix.IPPROTO_HOPOPTS && len(frame) > at+8 {
			next, at = frame[at], at+8
		}
		if next == unix.IPPROTO_ICMPV6 && len(frame) > at && (frame[at] >= 130 && frame[at] <= 137 || frame[at] == 143) {
			return frameResolution // MLD and neighbour discovery
		}
	}
	return frameOther
}
