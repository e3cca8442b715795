package lab

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a cable: the link's name in its namespace and the addresses
// it carries. IPv6 addresses are usable at once (no duplicate address detection).
type End struct {
	In        *Namespace
	Name      string
	Addresses []netip.Prefix
}

// Connect joins two namespaces with a veth pair, brings both ends up and gives
// them their addresses. Both ends may be in one namespace.
func Connect(a, b End) error {
	err := a.In.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: a.Name},
			PeerName:      b.Name,
			PeerNamespace: netlink.NsFd(b.In.FD()),
		})
	})
	if err != nil {
		return fmt.Errorf("create the cable %s - %s: %w", a.Name, b.Name, err)
	}
	for _, e := range []End{a, b} {
		if err := e.up(); err != nil {
			return err
		}
	}
	for _, e := range []End{a, b} {
		if err := e.In.Do(func() error { return settle(e.Name, e.Addresses...) }); err != nil {
			return err
		}
	}
	return nil
}

func (e End) up() error {
	return e.In.Do(func() error {
		link, err := netlink.LinkByName(e.Name)
		if err != nil {
			return fmt.Errorf("find %s: %w", e.Name, err)
		}
		for _, p := range e.Addresses {
			if err := AddAddress(e.Name, p); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	})
}

// settleTimeout bounds the wait for the kernel's own work, which takes milliseconds.
const settleTimeout = 5 * time.Second

// settle waits until packets to a link's IPv6 addresses arrive. Even without duplicate
// address detection the kernel makes an address's local route in a work item of its
// own, later where other namespaces come and go. Until then there is the prefix's route
// alone: on loopback packets to the address are dropped without a word, and on a cable
// answers to it leave by the default route, so that a first connection takes the second
// that a lost SYN costs.
func settle(link string, addresses ...netip.Prefix) error {
	for _, p := range addresses {
		if !p.Addr().Is6() {
			continue
		}
		for deadline := time.Now().Add(settleTimeout); !isLocal(p.Addr()); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("address %s on %s: the kernel does not take it as its own", p, link)
			}
		}
	}
	return nil
}

func isLocal(a netip.Addr) bool {
	routes, err := netlink.RouteGet(a.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

// AddAddress gives a link of the calling thread's namespace one more address. It can
// be used when AddAddress returns, if the link runs.
func AddAddress(name string, p netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	addr, err := netlink.ParseAddr(p.String())
	if err != nil {
		return err
	}
	if p.Addr().Is6() {
		addr.Flags = 0x02 // IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add %s to %s: %w", p, name, err)
	}
	if link.Attrs().RawFlags&unix.IFF_RUNNING == 0 {
		return nil
	}
	return settle(name, p)
}

// AddRoute adds a route in the calling thread's namespace. The zero gateway
// means that the destination is on the link itself.
func AddRoute(name string, to netip.Prefix, via netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	r := &netlink.Route{LinkIndex: link.Attrs().Index}
	r.Dst = ipNet(to)
	if via.IsValid() {
		r.Gw = via.AsSlice()
	}
	if err := netlink.RouteReplace(r); err != nil {
		return fmt.Errorf("add route %s via %s dev %s: %w", to, via, name, err)
	}
	return nil
}

// Sysctl writes a setting of the calling thread's namespace, named as under
// /proc/sys: Sysctl("net/ipv4/ip_forward", "1").
func Sysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644)
}
