package egress

import (
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/internal/lab"
)

// Connect lays a cable, called name, between a node and the internet, which ends with the
// test. Of the network between them the first address is the internet's and the second
// the node's. The node forwards for its pods, and reaches what is in these networks by the
// cable.
func (n *Internet) Connect(node *lab.Namespace, name string, between, pods netip.Prefix, networks ...netip.Prefix) error {
	n.t.Helper()
	own := between.Addr().Next()
	nodes := own.Next()
	err := lab.Connect(
		lab.End{In: node, Name: name, Addresses: []netip.Prefix{netip.PrefixFrom(nodes, between.Bits())}},
		lab.End{In: n.NS, Name: name, Addresses: []netip.Prefix{netip.PrefixFrom(own, between.Bits())}})
	if err != nil {
		return err
	}
	// The namespace's end would take the cable away too, but only some time later.
	n.t.Cleanup(func() {
		Must(n.t, node.Do(func() error {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return netlink.LinkDel(link)
		}))
	})
	err = node.Do(func() error {
		if err := lab.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
		for _, network := range networks {
			if err := lab.AddRoute(name, network, own); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.NS.Do(func() error { return lab.AddRoute(name, pods, nodes) })
}
