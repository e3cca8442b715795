package node

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/rules/escape"
)

// From inside a container with containerd's default capabilities, CAP_NET_RAW among
// them, nothing leaves the pod to a captured address but through the agent. The node's
// end of the pod's cable is the judge. Every attempt is made in a pod without rules
// first, where it must arrive.
func TestNothingLeavesAContainer(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		n := stage.New(t, stage.Options{IPv6: true})
		n.Ranges(stage.Captured, targets6)
		n.StartHolder()
		c := runtimeOf(t, n, r)
		n.StartAgent()
		deadEnds(t)

		open := attempt(t, c, containerd.PodSpec{Name: "open", Annotations: map[string]string{"sluice.dev/inject": "false"}})
		governed := attempt(t, c, containerd.PodSpec{Name: "governed", Annotations: map[string]string{
			"traffic.sidecar.istio.io/excludeOutboundPorts": fmt.Sprint(excludedPort)}})
		if len(open) != len(governed) {
			t.Fatalf("%d attempts without rules, %d with", len(open), len(governed))
		}
		var impossible []string
		for i, a := range governed {
			if open[i].name != a.name {
				t.Fatalf("attempt %d: %q and %q", i, open[i].name, a.name)
			}
			if len(open[i].seen) == 0 {
				impossible = append(impossible, a.name)
			}
			if len(a.seen) > 0 {
				t.Errorf("%s: %d packets left the pod, the first: %x", a.name, len(a.seen), a.seen[0])
			}
		}
		figure(t, "%d attempts from a container of containerd %s, none left the pod; %d were not possible there at all: %s", 0,
			len(governed), r.Version, len(impossible), strings.Join(impossible, ", "))
		// What is not possible even without rules proves nothing: there must be little of it.
		if len(impossible) > len(governed)/10 {
			t.Errorf("%d of %d attempts do not arrive without any rules", len(impossible), len(governed))
		}
	})
}

// Where the attempts lead: captured addresses that the node throws away.
const (
	target, nobody   = "192.0.2.77", "192.0.2.78"
	target6, nobody6 = "2001:db8:77::7", "2001:db8:77::8"
	targets6         = "2001:db8:77::/64"
	excludedPort     = 9999
)

// deadEnds makes the node drop what is for the attempts' targets, without a word: an
// answer would make the pod send more.
func deadEnds(t *testing.T) {
	t.Helper()
	for _, a := range []string{target, nobody, target6, nobody6} {
		addr := netip.MustParseAddr(a)
		route := &netlink.Route{Type: unix.RTN_BLACKHOLE, Dst: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}}
		must(t, netlink.RouteAdd(route))
		t.Cleanup(func() { must(t, netlink.RouteDel(route)) })
	}
}

// resolved tells a new pod, the only one there is, the hardware address of its gateways,
// so that nothing it sends waits for that and arrives during a later attempt.
func resolved(t *testing.T, cable *net.Interface) {
	t.Helper()
	must(t, onlyNamespace(t).Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		for _, gateway := range []string{"10.244.0.1", "fd44::1"} {
			err := netlink.NeighSet(&netlink.Neigh{LinkIndex: eth0.Attrs().Index, IP: net.ParseIP(gateway), HardwareAddr: cable.HardwareAddr, State: netlink.NUD_PERMANENT})
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// attempted is one attempt and the frames of it that left the pod.
type attempted struct {
	name string
	seen [][]byte
}

// attempt makes every attempt in a container of a new pod.
func attempt(t *testing.T, c *containerd.Containerd, spec containerd.PodSpec) (all []attempted) {
	t.Helper()
	p := c.Pod(spec)
	app, err := p.Container("app", containerd.Capabilities{})
	must(t, err)
	routes, err := netlink.RouteGet(net.ParseIP(p.IP))
	must(t, err)
	cable, err := net.InterfaceByIndex(routes[0].LinkIndex)
	must(t, err)
	resolved(t, cable)
	wire, err := escape.Watch(cable.Index, excludedPort)
	must(t, err)
	defer wire.Close()
	o, err := p.Run(app, "attempts", "--interface", "eth0", "--to", target, "--to6", target6, "--nobody", nobody, "--nobody6", nobody6,
		"--via", cable.HardwareAddr.String(), "--excluded", fmt.Sprint(excludedPort))
	must(t, err)
	if o.Code != 0 {
		t.Fatalf("attempts in pod %s: %s", spec.Name, o.Err)
	}
	for i, name := range strings.Split(strings.TrimSpace(o.Out), "\n") {
		seen, err := wire.Until(uint16(i + 1))
		if err != nil {
			t.Fatalf("pod %s, %s: %v", spec.Name, name, err)
		}
		all = append(all, attempted{name, seen})
	}
	must(t, p.Remove())
	return all
}
