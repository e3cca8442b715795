package nft_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A workload with containerd's default capabilities tries to reach a captured
// address. What leaves the pod is judged on the wire, at the other end of its
// cable: nothing of it may arrive there but address resolution. Every attempt is
// also made without rules, where it must arrive, or it would prove nothing.
func TestNothingAWorkloadCanSendReachesACapturedAddress(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := rulestest.NewPair(t)
	agent := agentCgroup(t)
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	w := newWire(t, p)
	captured := plan(t, "exemption=cgroup", "exemptCgroups="+agent, "dnsCapture=true", "excludeOutboundPorts=9999")
	for _, a := range attempts(w) {
		t.Run(a.name, func(t *testing.T) {
			if seen := w.watch(t, a); len(seen) == 0 {
				t.Fatalf("nothing arrived without any rules: the attempt is none")
			}
			apply(t, p.Pod, captured)
			if seen := w.watch(t, a); len(seen) > 0 {
				t.Errorf("%d packets arrived, the first: %x", len(seen), seen[0])
			}
			if err := nft.Remove(p.Pod.FD()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The exemption is worth nothing if the proxy's own sockets do not have it.
func TestTheProxysCgroupReachesCapturedAddresses(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := rulestest.NewPair(t)
	agent := agentCgroup(t)
	w := newWire(t, p)
	apply(t, p.Pod, plan(t, "exemption=cgroup", "exemptCgroups="+agent, "excludeOutboundPorts=9999"))
	for _, cgroup := range []string{agent, agent + "/deep"} {
		for _, to := range []netip.Addr{w.to4, w.to6} {
			asAgent := attempt{"", func() {
				if err := rulestest.JoinCgroup(cgroup); err != nil {
					t.Error(err)
				}
				connect(to, 80)
				datagram(to, 443)
			}}
			if seen := w.watch(t, asAgent); len(seen) < 2 {
				t.Errorf("%s to %s: %d packets", cgroup, to, len(seen))
			}
		}
	}
	outside := attempt{"", func() { connect(w.to4, 80) }}
	if seen := w.watch(t, outside); len(seen) > 0 {
		t.Error("another cgroup is exempt as well")
	}
}

func agentCgroup(t *testing.T) string {
	t.Helper()
	if !rulestest.MakeCgroups(t) {
		t.Skip("not run: needs a cgroup version 2 hierarchy that is not read-only")
	}
	return rulestest.CgroupNames()[0]
}

// wire watches what comes out of the pod.
type wire struct {
	rulestest.Pair
	fd           int
	from4, from6 netip.Addr
	to4, to6     netip.Addr
	podMAC, mac  []byte
	eth0, lo     int
	sentinels    uint16
}

func newWire(t *testing.T, p rulestest.Pair) *wire {
	t.Helper()
	w := &wire{Pair: p, from4: netip.MustParseAddr("10.50.0.2"), from6: netip.MustParseAddr("fd50::2"),
		to4: netip.MustParseAddr("10.50.0.1"), to6: netip.MustParseAddr("fd50::1")}
	w.podMAC, w.eth0 = link(t, p.Pod, "eth0")
	_, w.lo = link(t, p.Pod, "lo")
	var other int
	w.mac, other = link(t, p.Server, "eth0")
	must(t, p.Pod.Do(func() error { return lab.Sysctl("net/ipv4/ip_forward", "1") })) // as on most nodes
	for _, to := range []netip.Addr{w.to4, w.to6, nobody4, nobody6} {                 // so that nothing waits for an address to be resolved, or says later that it was not
		must(t, p.Pod.Do(func() error {
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: w.eth0, IP: to.AsSlice(), HardwareAddr: w.mac, State: netlink.NUD_PERMANENT})
		}))
	}
	silence(t, p.Server)
	must(t, p.Server.Do(func() (err error) {
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			limit := unix.NsecToTimeval(int64(3 * time.Second))
			err = errors.Join(
				unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
				unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
				unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_ALL), Ifindex: other}))
		}
		return err
	}))
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// silence makes a namespace answer nothing but address resolution, so that what
// comes out of the pod is no answer to an answer of an earlier attempt.
func silence(t *testing.T, ns *lab.Namespace) {
	change(t, ns, func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Name: "silence", Family: nftables.TableFamilyINet})
		drop := nftables.ChainPolicyDrop
		chain := c.AddChain(&nftables.Chain{Name: "input", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &drop})
		for kind := byte(133); kind <= 136; kind++ { // router and neighbour discovery
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{kind}},
				&expr.Verdict{Kind: expr.VerdictAccept},
			}})
		}
		return nil
	})
}

// watch makes an attempt with the workload's rights and returns the frames that
// came out of the pod. A datagram to an excluded port, sent after it, says that
// nothing more will come.
func (w *wire) watch(t *testing.T, a attempt) [][]byte {
	t.Helper()
	w.sentinels++
	must(t, w.Pod.Do(func() error {
		if a.name != "" {
			if err := becomeWorkload(); err != nil {
				return err
			}
		}
		a.send()
		return nil
	}))
	return w.until(t, w.Pod)
}

// watchFrom is watch for what another machine sends through the pod.
func (w *wire) watchFrom(t *testing.T, ns *lab.Namespace, send func()) [][]byte {
	t.Helper()
	w.sentinels++
	must(t, ns.Do(func() error { send(); return nil }))
	return w.until(t, ns)
}

// until sends the last datagram of an attempt and returns what came before it.
func (w *wire) until(t *testing.T, ns *lab.Namespace) (seen [][]byte) {
	t.Helper()
	must(t, ns.Do(func() error { return datagramWith(w.to4, 9999, binary.BigEndian.AppendUint16(nil, w.sentinels)) }))
	buf := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			t.Fatalf("no frame says that the attempt is over: %v", err)
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		frame := append([]byte{}, buf[:n]...)
		switch kind := frameKind(frame); {
		case kind == frameSentinel && binary.BigEndian.Uint16(frame[42:]) == w.sentinels:
			return seen
		case kind == frameOther:
			seen = append(seen, frame)
		}
	}
}

const (
	frameOther = iota
	frameResolution
	frameSentinel
)

// frameKind tells what a network needs to work at all from everything else.
func frameKind(frame []byte) int {
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
		if len(frame) >= 44 && frame[23] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(frame[36:]) == 9999 {
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

// becomeWorkload gives this thread what a container has by default: a user of its
// own and containerd's capabilities, CAP_NET_RAW among them. The thread ends soon.
func becomeWorkload() error {
	var caps uint32
	for _, c := range []uint{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD,
		unix.CAP_NET_RAW, unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE,
		unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE} {
		caps |= 1 << c
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: caps, Permitted: caps}}
	runtime.LockOSThread() // it is locked already, and this says that it must be
	return unix.Capset(&header, &data[0])
}

// becomeUser changes the ids of this thread alone.
func becomeUser(id uintptr) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	unix.Capget(&header, &data[0])
	unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	unix.RawSyscall(unix.SYS_SETRESGID, id, id, id)
	unix.RawSyscall(unix.SYS_SETRESUID, id, id, id)
	data[0].Effective = data[0].Permitted
	unix.Capset(&header, &data[0])
}

func link(t *testing.T, ns *lab.Namespace, name string) (mac []byte, index int) {
	t.Helper()
	must(t, ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
			return err
		}
		index = int(request.Uint32())
		var hardware struct {
			name   [unix.IFNAMSIZ]byte
			family uint16
			mac    [22]byte
		}
		copy(hardware.name[:], name)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFHWADDR, uintptr(unsafe.Pointer(&hardware))); errno != 0 {
			return errno
		}
		mac = hardware.mac[:6]
		return nil
	}))
	return mac, index
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func swap(n uint16) uint16 { return n<<8 | n>>8 }

// attempt is one way out. Whether its calls succeed does not matter, only what
// arrives.
type attempt struct {
	name string
	send func()
}

// attempts are the ways out, each over both families where it has them.
func attempts(w *wire) []attempt {
	var out []attempt
	both := func(name string, send func(to netip.Addr)) {
		for family, to := range map[string]netip.Addr{"IPv4": w.to4, "IPv6": w.to6} {
			out = append(out, attempt{fmt.Sprintf("%s over %s", name, family), func() { send(to) }})
		}
	}
	socketAttempts(both)
	rawAttempts(w, both)
	packetAttempts(w, both)
	out = append(out,
		attempt{"an IPv4-mapped IPv6 address", func() { connectMapped(w.to4, 80) }},
		attempt{"fragments that conntrack does not put together", func() { rawFragments(w) }},
		attempt{"a packet socket on lo where forwarding is on", func() {
			sendFrame(w.lo, frameOptions{}, ether(make([]byte, 6), make([]byte, 6), unix.ETH_P_IP, ip4(unix.IPPROTO_TCP, netip.MustParseAddr("10.50.0.77"), w.to4, tcp(synFlag))))
		}},
	)
	return out
}
