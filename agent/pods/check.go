package pods

import (
	"slices"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/rules/nft"
)

// compareEvery is how often rules are compared wholly although nothing has changed them,
// by the kernel's word: in case that this word is wrong.
const compareEvery = 10 * time.Minute

// checked is when and how a pod's rules were as they should be.
type checked struct {
	at     time.Time // zero: they were not
	hash   string
	agents wire.Agents
	state  nft.State
}

// stands says that rules in this state need not be compared again.
func (c checked) stands(a core.Check, state nft.State) bool {
	return !c.at.IsZero() && time.Since(c.at) < compareEvery && c.state == state && c.hash == a.Hash &&
		slices.Equal(c.agents.Levels, a.Agents.Levels) && slices.Equal(c.agents.IDs, a.Agents.IDs)
}

// check compares a pod's rules with their own record, if they have changed since they
// were found to be as it says.
func (h *Host) check(a core.Check) (drift string, err error) {
	s, err := h.set(a.Files)
	if err != nil {
		return "", err
	}
	err = s.ns.With(func(fd int) error {
		// Before the comparison: what changes during it makes another state.
		state, unknown := nft.StateOf(fd) // for example without nf_tables
		if unknown == nil && s.rules.stands(a, state) {
			return nil
		}
		now, certain := time.Now(), false
		drift, certain, err = compared(fd, a)
		s.rules = checked{}
		if err == nil && drift == "" && certain && unknown == nil {
			s.rules = checked{at: now, hash: a.Hash, agents: a.Agents, state: state}
		}
		return err
	})
	return drift, err
}
