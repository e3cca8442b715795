// Package backend chooses what a plan is put into, nf_tables or iptables, and says
// why. It is the one place that knows all backends: a namespace's rules may have
// been made by another than the one that is chosen today.
//
//	b, why, err := backend.Apply(rules.BackendAuto, int(netns.Fd()), plan)
//	err = backend.Remove(int(netns.Fd())) // whoever made the rules
package backend

import (
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/nft"
)

// Backend is what a plan can be put into. All of them give the same verdicts and
// the same kinds of error: rules.Drift, rules.ErrUnsupported, rules.ErrNotPermitted.
// A descriptor stays the caller's.
type Backend interface {
	Name() rules.Backend
	// Apply makes the namespace's rules what the plan says, whatever was there.
	Apply(netnsFD int, plan rules.Plan) error
	// Check reports a rules.Drift where they are not.
	Check(netnsFD int, plan rules.Plan) error
	// Refresh extends the rules to interfaces that came later.
	Refresh(netnsFD int) error
	// Disable ends capture and keeps the connections there are.
	Disable(netnsFD int) error
	// Remove takes the rules out; none there is success.
	Remove(netnsFD int) error
	// Applied is the hash of the configuration the rules were made from, "" for none.
	Applied(netnsFD int) (string, error)
	// Stored is that configuration; false for none.
	Stored(netnsFD int) (rules.Config, bool, error)
	// Read is all that the rules were made from; false for none.
	Read(netnsFD int) (rules.Applied, bool, error)
	// Limitations are what of an applied plan this backend does not hold here.
	Limitations(netnsFD int, plan rules.Plan) ([]rules.Warning, error)
	// Missing names, by programming a namespace made for it, each part of the kernel
	// that some plan needs and that is not there; nil for none.
	Missing() error
}

// netlink is rules/nft as a Backend.
type netlink struct{}

func (netlink) Name() rules.Backend                       { return rules.BackendNFT }
func (netlink) Apply(fd int, plan rules.Plan) error       { return nft.Apply(fd, plan) }
func (netlink) Check(fd int, plan rules.Plan) error       { return nft.Check(fd, plan) }
func (netlink) Refresh(fd int) error                      { return nft.Refresh(fd) }
func (netlink) Disable(fd int) error                      { return nft.Disable(fd) }
func (netlink) Remove(fd int) error                       { return nft.Remove(fd) }
func (netlink) Applied(fd int) (string, error)            { return nft.Hash(fd) }
func (netlink) Stored(fd int) (rules.Config, bool, error) { return nft.Stored(fd) }
func (netlink) Read(fd int) (rules.Applied, bool, error)  { return nft.Read(fd) }
func (netlink) Missing() error                            { return nft.Missing() }
func (netlink) Limitations(fd int, _ rules.Plan) ([]rules.Warning, error) {
	return nft.Limitations(fd)
}

// programs is rules/iptables as a Backend.
type programs struct{ *iptables.Firewall }

func (p programs) Name() rules.Backend {
	if p.Variant() == iptables.Legacy {
		return rules.BackendIPTablesLegacy
	}
	return rules.BackendIPTablesNFT
}

// Refresh has nothing to do: no chain of iptables belongs to an interface.
func (programs) Refresh(int) error { return nil }

func (p programs) Missing() error { return p.Probe() }

func (programs) Limitations(_ int, plan rules.Plan) ([]rules.Warning, error) {
	return iptables.Limits(plan), nil
}
