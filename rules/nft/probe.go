package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// Probe asks the kernel, without changing anything, whether it has nf_tables and
// lets this process use it in the calling thread's namespace.
func Probe() error {
	c, err := open(0)
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	_, err = installed(c)
	return err
}

// feature is a part of nf_tables that may be missing from a kernel: the least
// that needs it.
type feature struct {
	module string
	hook   rules.Hook
	exprs  []expr.Any
	set    *nftables.Set
}

func features() []feature {
	filter, nat, raw := rules.Hook{Type: "filter"}, rules.Hook{Type: "nat", Priority: -100}, rules.Hook{Type: "filter", Priority: -300}
	port := &expr.Immediate{Register: reg, Data: binary.BigEndian.AppendUint16(nil, 1)}
	return []feature{
		{module: "inet tables (CONFIG_NF_TABLES_INET)", hook: filter},
		{module: "interval sets (nf_tables_set)", hook: filter, set: &nftables.Set{ID: 1, Name: "s", KeyType: nftables.TypeIPAddr, Interval: true}},
		{module: "NAT chains (nft_chain_nat; in inet tables since Linux 5.2)", hook: nat},
		{module: "redirect (nft_redir)", hook: nat, exprs: append(protocol(unix.IPPROTO_TCP), port, &expr.Redir{RegisterProtoMin: reg})},
		{module: "connection tracking matches (nft_ct)", hook: filter, exprs: load(rules.KeyOngoing)},
		{module: "conntrack zones (CONFIG_NF_CONNTRACK_ZONES)", hook: raw, exprs: action(rules.Action{Kind: rules.ActionZone})},
		{module: "reject (nft_reject_inet)", hook: filter, exprs: action(rules.Action{Kind: rules.ActionReject})},
	}
}

// Missing names the parts of nf_tables the rules need and the kernel lacks, found
// by loading each alone into a namespace made for that. nil means none is missing.
func Missing() error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and its namespace end here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- nil // cannot say; the caller reports the first error
			return
		}
		var errs []error
		for _, f := range features() {
			if err := f.try(); err != nil {
				errs = append(errs, fmt.Errorf("%w: %s is missing (%w)", ErrUnsupported, f.module, err))
			}
		}
		result <- errors.Join(errs...)
	}()
	return <-result
}

func (f feature) try() error {
	c, err := nftables.New(nftables.WithSockOptions(prepareSocket))
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: "probe", Family: nftables.TableFamilyINet}
	c.AddTable(t)
	c.DelTable(t)
	t = c.AddTable(t)
	if f.set != nil {
		f.set.Table = t
		if err := c.AddSet(f.set, nil); err != nil {
			return err
		}
	}
	chain := c.AddChain(kernelChain(t, rules.Chain{Name: "probe", Hook: &f.hook}))
	if len(f.exprs) > 0 {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: f.exprs})
	}
	return c.Flush()
}
