package rulestest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A World is a pod and an internet that has every address there is:
//
//	pod                                internet
//	eth0 10.77.0.2/24 fd77::2/64 ───── 10.77.0.1  fd77::1    everything else
//	net1 10.99.0.2/24 fd99::2/64 ───── 10.99.0.1  fd99::1    10.88.0.0/16, fd88::/16
//	vm0  10.66.0.1/24 fd66::1/64 ───── vm 10.66.0.2 fd66::2, all of whose traffic goes through the pod
//
// Pod and internet listen on every port that flows go to. The pod also listens where a proxy
// would. Whoever gets a connection or a datagram answers with its own port: so a
// flow that was redirected is told from one that was not.
type World struct {
	pod, internet, vm *lab.Namespace
	next              uint16 // source port of the next flow
}

// Source ports are used in turn, so that no flow continues another in conntrack.
const firstPort, lastPort = 20000, 60000

var (
	outboundPorts = []uint16{15001, 15101}
	dnsPorts      = []uint16{15053, 15153}
	inboundPorts  = []uint16{15006, 15106}
	podAddresses  = addresses("10.77.0.2", "fd77::2", "10.99.0.2", "fd99::2", "10.66.0.1", "fd66::1")
	net1Range4    = netip.MustParsePrefix("10.88.0.0/16")
	net1Range6    = netip.MustParsePrefix("fd88::/16")
)

// NewWorld builds a World that ends with the test.
func NewWorld(t testing.TB) *World {
	t.Helper()
	pod, internet, vm := labtest.New(t), labtest.New(t), labtest.New(t)
	must(t, lab.Connect(end(pod, "eth0", "10.77.0.2/24", "fd77::2/64"), end(internet, "east", "10.77.0.1/24", "fd77::1/64")))
	must(t, lab.Connect(end(pod, "net1", "10.99.0.2/24", "fd99::2/64"), end(internet, "west", "10.99.0.1/24", "fd99::1/64")))
	must(t, lab.Connect(end(pod, "vm0", "10.66.0.1/24", "fd66::1/64"), end(vm, "eth0", "10.66.0.2/24", "fd66::2/64")))
	must(t, pod.Do(routePod))
	must(t, pod.Do(forward))
	must(t, vm.Do(func() error { return routeAll("10.66.0.1", "fd66::1") }))
	must(t, internet.Do(ownEverything))
	must(t, internet.Do(routeToVM))
	serve(t, internet, ports4)
	serve(t, pod, ports4)
	serve(t, pod, slices.Concat(outboundPorts, dnsPorts, inboundPorts))
	return &World{pod: pod, internet: internet, vm: vm, next: firstPort}
}

func end(in *lab.Namespace, name string, addresses ...string) lab.End {
	e := lab.End{In: in, Name: name}
	for _, a := range addresses {
		e.Addresses = append(e.Addresses, netip.MustParsePrefix(a))
	}
	return e
}

func routeAll(via4, via6 string) error {
	return errors.Join(
		lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(via4)),
		lab.AddRoute("eth0", netip.MustParsePrefix("::/0"), netip.MustParseAddr(via6)))
}

// forward lets the pod carry the machine's packets, and tell it of each that it
// refuses.
func forward() error {
	return errors.Join(
		lab.Sysctl("net/ipv4/ip_forward", "1"), lab.Sysctl("net/ipv6/conf/all/forwarding", "1"),
		lab.Sysctl("net/ipv4/icmp_ratelimit", "0"), lab.Sysctl("net/ipv6/icmp/ratelimit", "0"))
}

func routeToVM() error {
	return errors.Join(
		lab.AddRoute("east", netip.MustParsePrefix("10.66.0.0/24"), netip.MustParseAddr("10.77.0.2")),
		lab.AddRoute("east", netip.MustParsePrefix("fd66::/64"), netip.MustParseAddr("fd77::2")))
}

func routePod() error {
	return errors.Join(
		routeAll("10.77.0.1", "fd77::1"),
		lab.AddRoute("net1", net1Range4, netip.MustParseAddr("10.99.0.1")),
		lab.AddRoute("net1", net1Range6, netip.MustParseAddr("fd99::1")),
	)
}

// ownEverything makes every address local, in the main table: there the networks
// of the cables are more specific.
func ownEverything() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		_, dst, err := net.ParseCIDR(all)
		if err != nil {
			return err
		}
		err = netlink.RouteReplace(&netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: dst, Table: unix.RT_TABLE_MAIN,
			Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
		})
		if err != nil {
			return fmt.Errorf("make %s local: %w", all, err)
		}
	}
	return nil
}

// serve answers on ports, TCP and UDP, both families, until the test ends.
func serve(t testing.TB, ns *lab.Namespace, ports []uint16) {
	t.Helper()
	for _, port := range ports {
		address := net.JoinHostPort("", strconv.Itoa(int(port)))
		l, err := ns.Listen("tcp", address)
		must(t, err)
		t.Cleanup(func() { l.Close() })
		go answerTCP(l, port)
		for _, network := range []string{"udp4", "udp6"} {
			c, err := ns.ListenPacket(network, address)
			must(t, err)
			t.Cleanup(func() { c.Close() })
			go answerUDP(c.(*net.UDPConn), port)
		}
	}
}

// answerTCP runs until its listener is closed.
func answerTCP(l net.Listener, port uint16) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Write(binary.BigEndian.AppendUint16(nil, port))
		c.Close()
	}
}

// answerUDP runs until its socket is closed. It answers from the address that was
// asked, as a server on a wildcard address must.
func answerUDP(c *net.UDPConn, port uint16) {
	wantDestinations(c)
	buf, control := make([]byte, 64), make([]byte, 128)
	for {
		_, n, _, from, err := c.ReadMsgUDPAddrPort(buf, control)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error about an earlier answer
		}
		c.WriteMsgUDPAddrPort(binary.BigEndian.AppendUint16(nil, port), replyFrom(control[:n]), from)
	}
}

func wantDestinations(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		// Most addresses of the internet are on no interface.
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	})
}

// replyFrom turns the control message that says where a datagram went to into the
// one that sends an answer from there.
func replyFrom(control []byte) []byte {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO:
			info := unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[8:12])}
			return unix.PktInfo4(&info)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO:
			info := unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])}
			return unix.PktInfo6(&info)
		}
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
