package plugin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/vishvananda/netlink"
)

// egressInterfaces are those with a chain for the frames of packet sockets.
func egressInterfaces(t testing.TB, ns *lab.Namespace) []string {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyNetdev)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, chain := range chains {
		if name, ok := strings.CutPrefix(chain.Name, "egress_"); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func addInterface(t testing.TB, ns *lab.Namespace, name string) {
	t.Helper()
	err := ns.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func onInterface(verb, ifname, fields string, ns *lab.Namespace) call {
	return call{verb: verb, netns: ns.Path(), stdin: conf(fields), env: []string{"CNI_IFNAME=" + ifname}}
}

func TestAnExtraInterfacePassesThrough(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	for _, verb := range []string{"ADD", "CHECK", "DEL"} {
		out := onInterface(verb, "net1", "", ns).run(t)
		out.succeeded(t)
		if verb == "ADD" && !sameJSON(t, out.stdout, previous) {
			t.Errorf("result %s", out.stdout)
		}
		if got := tables(t, ns); len(got) > 0 {
			t.Errorf("%s made %v", verb, got)
		}
	}
}

// Multus' order: the default interface first, the others after it, and back.
func TestTheRulesStayUntilTheDefaultInterfaceGoes(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	addInterface(t, ns, "eth0")
	onInterface("ADD", "eth0", "", ns).run(t).succeeded(t)
	addInterface(t, ns, "net1")
	onInterface("ADD", "net1", "", ns).run(t).succeeded(t)
	if got := egressInterfaces(t, ns); !slices.Contains(got, "eth0") || !slices.Contains(got, "net1") {
		t.Errorf("chains for %v, want eth0 and net1", got)
	}
	onInterface("CHECK", "eth0", "", ns).run(t).succeeded(t)
	for range 2 {
		onInterface("DEL", "net1", "", ns).run(t).succeeded(t)
		onInterface("CHECK", "eth0", "", ns).run(t).succeeded(t)
	}
	onInterface("DEL", "eth0", "", ns).run(t).succeeded(t)
	if got := tables(t, ns); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

// The rules of the default interface hold for an interface that comes later even
// though the extra interface's own configuration says something else, or nothing.
func TestAnExtraInterfaceKeepsThePodsConfiguration(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	mine := `"includeIPRanges":"10.0.0.0/8,2001:db8::/32","excludeOutboundPorts":"22"`
	onInterface("ADD", "eth0", mine, ns).run(t).succeeded(t)
	addInterface(t, ns, "net1")
	onInterface("ADD", "net1", `"includeIPRanges":"nope"`, ns).run(t).succeeded(t)
	if got := value(t, stored(t, ns), "includeIPRanges"); got != "10.0.0.0/8,2001:db8::/32" {
		t.Errorf("now %q", got)
	}
	onInterface("CHECK", "eth0", mine, ns).run(t).succeeded(t)
}

func TestInterfacesThatAreNamedAreTheirs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		interfaces, ifname string
		programs, removes  bool
	}{
		{`"*"`, "eth0", true, true},
		{`"*"`, "net1", true, false},
		{`["net1"]`, "net1", true, true},
		{`["net1"]`, "eth0", false, false},
		{`"eth0,net1"`, "net1", true, false},
		{`"eth0,net1"`, "eth0", true, true},
		{`"eth0,net1"`, "net2", false, false},
	} {
		t.Run(fmt.Sprint(tc.interfaces, tc.ifname), func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			fields := `"interfaces":` + tc.interfaces
			onInterface("ADD", tc.ifname, fields, ns).run(t).succeeded(t)
			if got := len(tables(t, ns)) > 0; got != tc.programs {
				t.Errorf("ADD programs: %v", got)
			}
			onInterface("DEL", tc.ifname, fields, ns).run(t).succeeded(t)
			if got := len(tables(t, ns)) == 0; got != (tc.removes || !tc.programs) {
				t.Errorf("DEL removes: %v", got)
			}
		})
	}
}
