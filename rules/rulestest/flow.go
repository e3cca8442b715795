package rulestest

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
)

// Flow draws a flow between the namespaces of a World: from a process of the pod,
// from the internet to it, or from the machine behind it through it.
func (r Random) Flow() rules.Flow {
	switch n := r.IntN(10); {
	case n < 2:
		return r.inbound()
	case n < 4:
		return r.rerouted()
	}
	return r.outbound()
}

// FlowFor draws a flow that, more often than by chance, meets one of the lines of
// a configuration that few flows come to.
func (r Random) FlowFor(c rules.Config) rules.Flow {
	f := r.Flow()
	if f.Protocol != rules.TCP || !r.oneIn(2) {
		return f
	}
	wanted := c.IncludeOutboundPorts
	if f.InInterface != "" && !slices.Contains(c.RerouteInterfaces, f.InInterface) {
		wanted = c.IncludeInboundPorts
		if len(c.ExcludeInboundPorts) > 0 {
			wanted = c.ExcludeInboundPorts
		}
	}
	for range len(ports4) {
		if port := pick(r, ports4); wanted.Contains(port) {
			f.DstPort = port
			break
		}
	}
	return f
}

func (r Random) inbound() rules.Flow {
	f := rules.Flow{
		Protocol: pick(r, []rules.Protocol{rules.TCP, rules.TCP, rules.TCP, rules.UDP}),
		DstPort:  pick(r, ports4), Dst: pick(r, podAddresses[:4]),
		InInterface: "eth0", OutInterface: "lo",
	}
	if f.Dst == podAddresses[2] || f.Dst == podAddresses[3] {
		f.InInterface = "net1"
	}
	return f
}

func (r Random) rerouted() rules.Flow {
	f := rules.Flow{
		Protocol: pick(r, []rules.Protocol{rules.TCP, rules.TCP, rules.UDP, rules.ICMP}),
		DstPort:  pick(r, ports4), Dst: pick(r, destined), InInterface: "vm0",
	}
	for f.Dst.IsLoopback() {
		f.Dst = pick(r, destined)
	}
	if r.oneIn(4) {
		f.DstPort = 53
	}
	if f.Protocol == rules.ICMP {
		f.DstPort, f.ICMPType = 0, 8
		if f.Dst.Is6() {
			f.Protocol, f.ICMPType = rules.ICMPv6, 128
		}
	}
	f.OutInterface = outInterface(f.Dst)
	return f
}

func (r Random) outbound() rules.Flow {
	f := rules.Flow{
		Dst:      pick(r, destined),
		DstPort:  pick(r, ports4),
		Protocol: pick(r, []rules.Protocol{rules.TCP, rules.TCP, rules.TCP, rules.TCP, rules.UDP, rules.UDP, rules.UDP, rules.ICMP, rules.SCTP, rules.IGMP}),
		UID:      r.owner(), GID: r.owner(),
	}
	if r.oneIn(4) {
		f.Mark = pick(r, marks)
	}
	switch f.Protocol {
	case rules.ICMP:
		f.ICMPType = pick(r, []uint8{8, 8, 0, 13}) // echo request, echo reply, timestamp
		if f.Dst.Is6() {
			f.Protocol, f.ICMPType = rules.ICMPv6, pick(r, []uint8{128, 128, 129, 132})
		}
	case rules.UDP:
		// A DHCP client's port is fixed, so its flows continue each other; they pass
		// whatever the configuration. Others to these ports are not DHCP.
		switch {
		case f.DstPort == 67 && f.Dst.Is4() && r.oneIn(2):
			f.SrcPort = 68
		case f.DstPort == 547 && f.Dst.Is6() && r.oneIn(2):
			f.SrcPort = 546
		}
	}
	if r.oneIn(5) {
		f.DstPort, f.SrcPort = 53, 0
	}
	if len(r.cgroups) > 0 && r.oneIn(2) {
		f.Cgroup = pick(r, r.cgroups)
	}
	f.OutInterface = outInterface(f.Dst)
	return f
}

// owner is 0 three times in four, and always where no other id exists.
func (r Random) owner() uint32 {
	id := pick(r, ids)
	if r.oneIn(2) || lab.OwnUserNamespace() {
		return 0
	}
	return id
}

// outInterface is where a World routes an address.
func outInterface(dst netip.Addr) string {
	switch {
	case dst.IsLoopback() || slices.Contains(podAddresses, dst):
		return "lo"
	case net1Range4.Contains(dst) || net1Range6.Contains(dst):
		return "net1"
	}
	return "eth0"
}
