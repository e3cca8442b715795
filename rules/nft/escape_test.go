package nft_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A workload with containerd's default capabilities tries to reach a captured
// address, past a proxy in its namespace or past the node's agent. What leaves the pod
// is judged on the wire, at the other end of its cable: nothing of it may arrive there
// but address resolution. Every attempt is also made without rules, where it must
// arrive, or it would prove nothing.
func TestNothingAWorkloadCanSendReachesACapturedAddress(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	inside := agentCgroup(t)
	fields := []string{"dnsCapture=true", "excludeOutboundPorts=9999"}
	for mode, captured := range map[string]func(*testing.T, rulestest.Pair) rules.Plan{
		"a proxy in the namespace": func(t *testing.T, _ rulestest.Pair) rules.Plan {
			return rulestest.Plan(t, append(fields, "exemption=cgroup", "exemptCgroups="+inside)...)
		},
		"the node's agent": func(t *testing.T, p rulestest.Pair) rules.Plan {
			return nodePlan(t, []rules.Option{rules.Exempting(startAgent(t, p.Pod, newCgroup(t, 0)).own(t))}, fields...)
		},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := rulestest.NewPair(t)
			rulestest.Echo(t, p.Pod, ":15001", "proxy")
			newWire(t, p).nothingArrives(t, captured(t, p))
		})
	}
}

// nothingArrives makes every attempt without rules and with them.
func (w *wire) nothingArrives(t *testing.T, captured rules.Plan) {
	t.Helper()
	for _, a := range w.Attempts() {
		t.Run(a.Name, func(t *testing.T) {
			if seen := w.watch(t, a); len(seen) == 0 {
				t.Fatalf("nothing arrived without any rules: the attempt is none")
			}
			apply(t, w.Pod, captured)
			if seen := w.watch(t, a); len(seen) > 0 {
				t.Errorf("%d packets arrived, the first: %x", len(seen), seen[0])
			}
			removeAtOnce(t, w.Pod)
		})
	}
}

// removeAtOnce waits until conntrack has gone with the rules: it would remember what is
// sent without any, and let answers pass when they are back. Closing a socket waits.
func removeAtOnce(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	must(t, nft.Remove(ns.FD()))
	tables(t, ns)
}

// The exemption is worth nothing if the proxy's own sockets do not have it.
func TestTheProxysCgroupReachesCapturedAddresses(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := rulestest.NewPair(t)
	agent := agentCgroup(t)
	w := newWire(t, p)
	apply(t, p.Pod, rulestest.Plan(t, "exemption=cgroup", "exemptCgroups="+agent, "excludeOutboundPorts=9999"))
	for _, cgroup := range []string{agent, agent + "/deep"} {
		for _, to := range []netip.Addr{w.To4, w.To6} {
			seen := w.watchRoot(t, func() {
				if err := rulestest.JoinCgroup(cgroup); err != nil {
					t.Error(err)
				}
				escape.Connect(to, 80)
				escape.Datagram(to, 443)
			})
			if len(seen) < 2 {
				t.Errorf("%s to %s: %d packets", cgroup, to, len(seen))
			}
		}
	}
	if seen := w.watchRoot(t, func() { escape.Connect(w.To4, 80) }); len(seen) > 0 {
		t.Error("another cgroup is exempt as well")
	}
}

func agentCgroup(t *testing.T) string {
	t.Helper()
	needsCgroups(t)
	return rulestest.CgroupNames()[0]
}

func needsCgroups(t testing.TB) {
	t.Helper()
	if !rulestest.MakeCgroups(t) {
		t.Skip("not run: needs a cgroup version 2 hierarchy that is not read-only")
	}
}

// wire watches what comes out of the pod.
type wire struct {
	rulestest.Pair
	escape.Place
	cable     *escape.Wire
	sentinels uint16
}

const excludedPort = 9999

func newWire(t *testing.T, p rulestest.Pair) *wire {
	t.Helper()
	w := &wire{Pair: p}
	must(t, p.Pod.Do(func() (err error) { w.Place, err = escape.Here("eth0"); return err }))
	w.To4, w.To6 = netip.MustParseAddr("10.50.0.1"), netip.MustParseAddr("fd50::1")
	w.Nobody4, w.Nobody6 = netip.MustParseAddr("10.50.0.77"), netip.MustParseAddr("fd50::77")
	w.Excluded = excludedPort
	must(t, p.Pod.Do(func() error { return lab.Sysctl("net/ipv4/ip_forward", "1") })) // as on most nodes
	// The proxy's answer to a SYN would be sent again a second later, without its redirect once
	// the rules are away: the kernel resets that with a packet to ::1, which it sends by eth0.
	must(t, p.Pod.Do(func() error { return lab.Sysctl("net/ipv4/tcp_synack_retries", "0") }))
	silence(t, p.Server)
	must(t, p.Server.Do(func() error {
		far, err := net.InterfaceByName("eth0")
		if err == nil {
			w.NextHop = far.HardwareAddr
			w.cable, err = escape.Watch(far.Index, excludedPort)
		}
		return err
	}))
	t.Cleanup(func() { w.cable.Close() })
	for _, to := range []netip.Addr{w.To4, w.To6, w.Nobody4, w.Nobody6} { // so that nothing waits for an address to be resolved, or says later that it was not
		must(t, p.Pod.Do(func() error {
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: w.Link, IP: to.AsSlice(), HardwareAddr: w.NextHop, State: netlink.NUD_PERMANENT})
		}))
	}
	return w
}

// silence makes a namespace answer nothing but address resolution, so that what
// comes out of the pod is no answer to an answer of an earlier attempt.
func silence(t *testing.T, ns *lab.Namespace) {
	rulestest.Tamper(t, ns, func(c *nftables.Conn) error {
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

// watch makes an attempt with the workload's rights and returns the frames that came
// out of the pod. A datagram to an excluded port, sent after it, says that nothing
// more will come.
func (w *wire) watch(t *testing.T, a escape.Attempt) [][]byte {
	t.Helper()
	var err error
	seen := w.watchRoot(t, func() {
		if err = escape.BecomeWorkload(); err == nil {
			a.Send()
		}
	})
	must(t, err)
	return seen
}

// watchRoot is watch with all rights.
func (w *wire) watchRoot(t *testing.T, send func()) [][]byte {
	t.Helper()
	return w.watchFrom(t, w.Pod, send)
}

// watchFrom is watchRoot for what another machine sends through the pod.
func (w *wire) watchFrom(t *testing.T, ns *lab.Namespace, send func()) [][]byte {
	t.Helper()
	w.sentinels++
	must(t, errors.Join(
		ns.Do(func() error { send(); return nil }),
		ns.Do(func() error { return escape.Sentinel(w.To4, excludedPort, w.sentinels) })))
	seen, err := w.cable.Until(w.sentinels)
	must(t, err)
	return seen
}

func linkIndex(t *testing.T, ns *lab.Namespace, name string) (index int) {
	t.Helper()
	must(t, ns.Do(func() error {
		link, err := net.InterfaceByName(name)
		if err == nil {
			index = link.Index
		}
		return err
	}))
	return index
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func swap(n uint16) uint16 { return n<<8 | n>>8 }
