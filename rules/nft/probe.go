package nft

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/rules"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Probe asks the kernel, without changing anything, whether it has nf_tables and
// lets this process use it in the calling thread's namespace.
func Probe() error {
	c, err := open(ownNamespace)
	if err != nil {
		return err
	}
	defer closeLater(c)
	_, err = installed(c)
	return err
}

// feature is a part of nf_tables that may be missing from a kernel: the least
// that needs it.
type feature struct {
	module string
	family nftables.TableFamily // inet where none is given
	hook   rules.Hook
	device string
	exprs  []expr.Any
	set    *nftables.Set
}

// features are what every plan needs, or one of some settings.
func features() []feature {
	filter := rules.Hook{Type: "filter", Point: rules.Output}
	nat, raw := rules.Hook{Type: "nat", Point: rules.Output, Priority: -100}, rules.Hook{Type: "filter", Point: rules.Output, Priority: -300}
	arriving := rules.Hook{Type: "nat", Point: rules.Prerouting, Priority: -100}
	redirect := append(protocol(unix.IPPROTO_TCP), translator{}.action(rules.Action{Kind: rules.ActionRedirect, Port: 1})...)
	dynamic := &nftables.Set{ID: 1, Name: rules.SetMarkAlarm, KeyType: nftables.TypeNFProto, Dynamic: true, HasTimeout: true}
	return []feature{
		{module: "inet tables (CONFIG_NF_TABLES_INET)", hook: filter},
		{module: "interval sets (nf_tables_set)", hook: filter, set: &nftables.Set{ID: 1, Name: "s", KeyType: nftables.TypeIPAddr, Interval: true}},
		{module: "NAT chains (nft_chain_nat; in inet tables since Linux 5.2)", hook: nat},
		{module: "NAT of IPv6 (CONFIG_NF_NAT with CONFIG_IPV6)", family: nftables.TableFamilyIPv6, hook: nat},
		{module: "redirect (nft_redir)", hook: nat, exprs: redirect},
		{module: "redirect of what arrives (nft_redir, prerouting)", hook: arriving, exprs: redirect},
		{module: "connection tracking matches (nft_ct)", hook: filter, exprs: load(rules.KeyOngoing)},
		{module: "conntrack zones (CONFIG_NF_CONNTRACK_ZONES)", hook: raw, exprs: translator{}.action(rules.Action{Kind: rules.ActionZone})},
		{module: "reject (nft_reject_inet)", hook: filter, exprs: translator{}.action(rules.Action{Kind: rules.ActionReject})},
		{module: "address type lookups (nft_fib_inet)", hook: filter, exprs: load(rules.KeyForeignSrc)},
		{module: "socket cgroupv2 matches for exemption cgroup (nft_socket, Linux 5.13)", hook: filter, exprs: []expr.Any{&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: 1, Register: reg}}},
		{module: "rate limits and dynamic sets for exemption mark (nft_limit)", hook: filter, set: dynamic,
			exprs: translator{}.action(rules.Action{Kind: rules.ActionAlarm, Set: rules.SetMarkAlarm})},
	}
}

// frameFeatures are what the layer beneath packet sockets needs.
func frameFeatures() []feature {
	return []feature{
		{module: "egress hooks, against packet sockets (CONFIG_NETFILTER_EGRESS, Linux 5.16)", family: nftables.TableFamilyNetdev, device: "lo"},
		{module: "meta rtclassid, against packet sockets (CONFIG_IP_ROUTE_CLASSID)", family: nftables.TableFamilyNetdev, device: "lo", exprs: load(rules.KeyRouted)},
	}
}

// Missing names the parts of nf_tables the rules need and the kernel lacks, found
// by loading each alone into a namespace made for that. nil means none is missing.
func Missing() error {
	return errors.Join(missing(append(features(), frameFeatures()...))...)
}

func missing(features []feature) []error {
	var errs []error
	// Where no namespace can be made nothing can be said; the caller reports what
	// it met first.
	inScratchNamespace(func() error {
		for _, f := range features {
			if err := f.try(); err != nil {
				errs = append(errs, fmt.Errorf("%w: %s is missing (%w)", ErrUnsupported, f.module, err))
			}
		}
		return nil
	})
	return errs
}

// inScratchNamespace runs f on a thread in a namespace that ends with it.
func inScratchNamespace(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and its namespace end here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("make a scratch namespace: %w", err)
			return
		}
		if err := raiseLoopback(); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

func raiseLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("raise the loopback of a scratch namespace: %w", err)
	}
	return nil
}

func (f feature) try() error {
	c, err := nftables.New(nftables.WithSockOptions(prepareSocket))
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: "probe", Family: f.family}
	if f.family == nftables.TableFamilyUnspecified {
		t.Family = nftables.TableFamilyINet
	}
	c.AddTable(t)
	c.DelTable(t)
	t = c.AddTable(t)
	if f.set != nil {
		f.set.Table = t
		if err := c.AddSet(f.set, nil); err != nil {
			return err
		}
	}
	chain := c.AddChain(kernelChain(t, chainLayout{rules.Chain{Name: "probe", Hook: &f.hook}, f.device}))
	if len(f.exprs) > 0 {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: f.exprs})
	}
	return c.Flush()
}
