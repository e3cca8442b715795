package rulestest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// answerTime is how long a flow may take: an answer that does not come is a
// failure of the rules, not of the machine.
const answerTime = 3 * time.Second

// Send sends a flow from where it comes from and says what became of it.
func (w *World) Send(c rules.Config, f rules.Flow) (v rules.Verdict, err error) {
	if f.SrcPort == 0 {
		f.SrcPort = w.next
		if w.next++; w.next == lastPort {
			w.next = firstPort
		}
	}
	err = w.source(f).Do(func() error {
		fd, err := socket(f)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		v, err = exchange(fd, c, f)
		return err
	})
	return v, err
}

func (w *World) source(f rules.Flow) *lab.Namespace {
	switch f.InInterface {
	case "":
		return w.pod
	case "vm0":
		return w.vm
	}
	return w.internet
}

// socket makes the flow's socket as its owner: the kernel remembers the file
// system ids of whoever makes one. They are the thread's own, and the thread ends
// with Do.
func socket(f rules.Flow) (int, error) {
	family, kind, protocol := unix.AF_INET, unix.SOCK_RAW, int(f.Protocol)
	if f.Dst.Is6() {
		family = unix.AF_INET6
	}
	switch f.Protocol {
	case rules.TCP:
		kind = unix.SOCK_STREAM
	case rules.UDP:
		kind = unix.SOCK_DGRAM
	}
	if err := JoinCgroup(f.Cgroup); err != nil {
		return -1, err
	}
	if err := joinGroups(); err != nil {
		return -1, err
	}
	unix.Setfsgid(int(f.GID))
	unix.Setfsuid(int(f.UID))
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	unix.Setfsuid(0)
	unix.Setfsgid(0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	limit := unix.NsecToTimeval(answerTime.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
	)
	if f.Mark != 0 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(f.Mark)))
	}
	if kind != unix.SOCK_RAW {
		err = errors.Join(err, unix.Bind(fd, sockaddr(unspecified(f.Dst), f.SrcPort)))
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("prepare the socket: %w", err)
	}
	return fd, nil
}

func exchange(fd int, c rules.Config, f rules.Flow) (rules.Verdict, error) {
	switch f.Protocol {
	case rules.TCP:
		// A reset at close leaves no TIME_WAIT behind.
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return 0, err
		}
		if err := connect(fd, sockaddr(f.Dst, f.DstPort)); err != nil {
			return verdictOf(err)
		}
		return answered(fd, c, f)
	case rules.UDP:
		if f.InInterface != "" {
			return overWire(fd, c, f, []byte("?"))
		}
		if err := unix.Sendto(fd, []byte("?"), 0, sockaddr(f.Dst, f.DstPort)); err != nil {
			return verdictOf(err)
		}
		return answered(fd, c, f)
	}
	if f.InInterface != "" {
		return overWire(fd, c, f, rawPacket(f))
	}
	err := unix.Sendto(fd, rawPacket(f), 0, sockaddr(f.Dst, 0))
	return verdictOf(err)
}

// overWire sends from another machine than the pod, where a refusal comes back as
// an ICMP error: the socket hears of it if it is connected and wants to.
func overWire(fd int, c rules.Config, f rules.Flow, packet []byte) (rules.Verdict, error) {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if f.Dst.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	err := errors.Join(
		unix.SetsockoptInt(fd, level, option, 1),
		connect(fd, sockaddr(f.Dst, f.DstPort)))
	if err == nil {
		_, err = unix.Write(fd, packet)
	}
	if err != nil {
		return verdictOf(err)
	}
	if f.Protocol == rules.UDP {
		return answered(fd, c, f)
	}
	return echoed(fd, f)
}

// echoed waits for the answer to an echo request, or for the word that it was
// refused. A raw socket hears other ICMP as well.
func echoed(fd int, f rules.Flow) (rules.Verdict, error) {
	buf := make([]byte, 256)
	for {
		n, err := readRetrying(fd, buf)
		if err != nil {
			return verdictOf(err)
		}
		message, reply := buf[:n], byte(129)
		if f.Dst.Is4() && n > 20 {
			message, reply = buf[20:n], 0
		}
		if len(message) >= 6 && message[0] == reply && binary.BigEndian.Uint16(message[4:]) == f.SrcPort {
			return rules.Direct, nil
		}
	}
}

// joinGroups gives this thread groups beside its own, none of which may count.
func joinGroups() error {
	if lab.OwnUserNamespace() {
		return nil
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(ids)), uintptr(unsafe.Pointer(&ids[0])), 0)
	if errno != 0 {
		return fmt.Errorf("join supplementary groups: %w", errno)
	}
	return nil
}

// connect waits on where a signal interrupts it, as those are by which Go's runtime
// preempts a thread: the connection is made all the same (connect(2), EINTR).
func connect(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if err != unix.EINTR {
		return err
	}
	return connected(fd, answerTime)
}

// connected waits for a connection that is being made.
func connected(fd int, atMost time.Duration) error {
	for end := time.Now().Add(atMost); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(max(0, time.Until(end)).Milliseconds()))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return unix.EINPROGRESS // as connect has it, of a socket with a limit
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return err
	}
}

// answered reads the port of whoever answered.
func answered(fd int, c rules.Config, f rules.Flow) (rules.Verdict, error) {
	var buf [2]byte
	n, err := readRetrying(fd, buf[:])
	if errors.Is(err, unix.ECONNREFUSED) {
		return rules.Refused, nil
	}
	if err != nil || n != 2 {
		return 0, fmt.Errorf("no answer (%d bytes): %w", n, err)
	}
	switch port := binary.BigEndian.Uint16(buf[:]); port {
	case f.DstPort:
		return rules.Direct, nil
	case c.OutboundPort:
		return rules.ToProxy, nil
	case c.DNSPort:
		return rules.ToDNS, nil
	case c.InboundPort:
		return rules.ToInbound, nil
	default:
		return 0, fmt.Errorf("port %d answered", port)
	}
}

func readRetrying(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// verdictOf reads a send's error: a rejected packet fails with EPERM.
func verdictOf(err error) (rules.Verdict, error) {
	switch {
	case err == nil:
		return rules.Direct, nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ECONNREFUSED):
		return rules.Refused, nil
	}
	return 0, err
}

// rawPacket is the start of a packet of a protocol without ports. The source port
// serves as identifier, so that no flow continues another.
func rawPacket(f rules.Flow) []byte {
	packet := make([]byte, 16)
	switch f.Protocol {
	case rules.ICMP, rules.ICMPv6:
		packet[0] = f.ICMPType
		binary.BigEndian.PutUint16(packet[4:], f.SrcPort)
	case rules.IGMP:
		packet[0] = 0x16 // membership report
	default:
		binary.BigEndian.PutUint16(packet, f.SrcPort)
		binary.BigEndian.PutUint16(packet[2:], f.DstPort)
	}
	if f.Protocol != rules.ICMPv6 { // whose checksum the kernel fills in
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
	}
	return packet
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func sockaddr(addr netip.Addr, port uint16) unix.Sockaddr {
	if addr.Is6() {
		return &unix.SockaddrInet6{Port: int(port), Addr: addr.As16()}
	}
	return &unix.SockaddrInet4{Port: int(port), Addr: addr.As4()}
}
