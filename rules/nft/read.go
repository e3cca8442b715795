package nft

import (
	"time"

	"github.com/sluice-cni/sluice/rules"
)

// Applied is what a namespace's rules were made from, as their record says.
type Applied struct {
	Config   rules.Config
	Hash     string        // Config.Hash
	Running  bool          // the namespace had connections already
	Auto     bool          // the ranges stand for includeIPRanges auto
	Node     bool          // in node mode
	Disabled bool          // capture was ended by Disable
	Gate     time.Duration // 0: no heartbeat is asked for
}

// Options are those of the plan that was applied, but for who is exempt.
func (a Applied) Options() []rules.Option {
	return record{running: a.Running, auto: a.Auto, node: a.Node, gate: a.Gate}.options()
}

// Read reads back what a namespace's rules were made from; false when there are none.
// A record that cannot be read, since it was changed or is of another version, is an
// error; the rules may be in force all the same.
func Read(netnsFD int) (Applied, bool, error) {
	r, found, err := recordOf(netnsFD)
	if err != nil || !found {
		return Applied{}, false, err
	}
	c, err := r.parsed()
	if err != nil {
		return Applied{}, false, err
	}
	return Applied{Config: c, Hash: r.hash, Running: r.running, Auto: r.auto, Node: r.node, Disabled: r.disabled, Gate: r.gate}, true, nil
}
