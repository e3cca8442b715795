package core

import (
	"errors"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/rules"
)

// Action is something to be done outside, without the core waiting for it. Actions of
// one Step are in the order of pods; they may be performed at the same time.
type Action interface{ action() }

// PodAction is an Action about one pod. There is at most one under way for each pod:
// the next comes only after its Done.
type PodAction interface {
	Action
	At() Target
}

// Target is the pod an action is about and how to reach it.
type Target struct {
	Pod wire.Netns
	// Seq tells actions apart: it grows with each one.
	Seq uint64
	// Files has the namespace open, and the sockets. 0: nobody holds the pod; open the
	// namespace by Path, or /proc/PID/ns/net, and compare its device and inode with
	// Pod (ErrGone when they differ).
	Files Files
	Path  string
	PID   int
}

// At is the target itself.
func (t Target) At() Target { return t }

var (
	// ErrNoRules: the namespace has no rules of ours that an agent may change (of
	// Exempt, ReplaceSets, Beat, Disable).
	ErrNoRules = errors.New("the namespace has no rules of a node agent")
	// ErrOtherRules: its rules are not those that were to be changed (of ReplaceSets), or
	// know the agents by a mark alone (of Exempt).
	ErrOtherRules = errors.New("the namespace has other rules")
	// ErrGone: the namespace is no more, or another one is at its path.
	ErrGone = errors.New("the namespace is gone")
)

// Rules is what ReadBack saw.
type Rules struct {
	State RulesState
	Hash  string // Decision.Hash of what was applied; "" when the record is damaged
	Shape string // Decision.Shape of it; "" when unknown
	// Config is the record's own; nil when it cannot be read. A pod that nobody knows
	// is served by it.
	Config  *rules.Config
	Running bool // made for a namespace that had connections already
	Gate    time.Duration
	Auto    bool
	Mark    uint32 // that exempts the agent's sockets; 0: their cgroup does
	Ports   Ports  // that the rules redirect to
}

// RulesState is what of our rules a namespace has.
type RulesState string

const (
	RulesUnknown    RulesState = "unknown"
	RulesNone       RulesState = "none"
	RulesApplied    RulesState = "applied"
	RulesDisabled   RulesState = "disabled"   // nothing is redirected, connections that were go on
	RulesStandalone RulesState = "standalone" // of a plugin without an agent, or of sluice exec: not ours
)

// OpenAndHold opens the listening sockets in a running pod's namespace and gives them
// to the holder; done when the holder said so. One that fails leaves nothing open or held. It draws the pod's mark, as ADD does.
type OpenAndHold struct {
	Target
	Description Description
	Decision    Decision
	// Ports are to be had if they are free (0: any); a port that is taken is replaced
	// by a free one. When Target.Files is set, these sockets are held already: share
	// them and open only what Decision.DNS needs beside them.
	Ports     Ports
	Gate      time.Duration
	Container string
}

// Keep gives the holder a pod that it lost, or that has another Gate now.
type Keep struct {
	Target
	Description Description
	Gate        time.Duration
	Container   string
	Found       bool // as in Held
}

// Exempt makes Agents the ones whose sockets are not redirected (nft.Exempt).
type Exempt struct {
	Target
	Agents wire.Agents
}

// Start serves the pod on its sockets; upstream ones get Description.Mark, if there is
// one. When another set of Files is served, or was drained, this comes beside it. One
// that fails leaves nothing served.
type Start struct {
	Target
	Description Description
	Decision    Decision
}

// Follow tells the proxy of a served pod that its description or decision changed.
type Follow struct {
	Target
	Description Description
	Decision    Decision
}

// ReadBack reads which rules the namespace has: Done.Rules.
type ReadBack struct{ Target }

// Apply puts the decision's rules in place of whatever is there, exempting Agents in
// the same transaction (rules.Exempting).
type Apply struct {
	Target
	Decision Decision
	Running  bool // rules.Running
	Agents   wire.Agents
}

// ReplaceSets changes only the sets of rules that have the hash From.
type ReplaceSets struct {
	Target
	From     string
	Decision Decision
}

// Beat lets the rules of a bypass pod redirect for another Gate.
type Beat struct {
	Target
	Gate time.Duration
}

// Check compares the rules with what they should be: Done.Drift. The record has to say
// Hash and must not say disabled, Agents have to be the ones exempt, the rest has to be
// as the record says.
type Check struct {
	Target
	Hash   string
	Agents wire.Agents
}

// Disable lets new connections go direct; redirected ones go on.
type Disable struct{ Target }

// Remove takes the rules out. It comes after Disable, and when no redirected connection
// is left that it could reset.
type Remove struct{ Target }

// Stop ends serving Target.Files: nothing is accepted from them any more. They may
// never have been started. One that fails has changed nothing.
type Stop struct {
	Target
	// Drain is how long connections may go on, and DNS lookups may be answered; a
	// Drained event says when none is left. 0 cuts them at once: done when they are,
	// and no Drained comes.
	Drain time.Duration
	// Close closes the descriptors too: at once what the drain does not need, the rest
	// after it. Else another Start may come.
	Close bool
}

// Release tells the holder to let the pod go, then closes Target.Files: not when it
// fails. Connections that drain are none of its business.
type Release struct{ Target }

// Take tells the holder that this agent serves everything it was given.
type Take struct{}

// Seen answers an AgentsChanged: from now on no action under way writes
// exemptions from before it, so that the agent that caused it may serve.
type Seen struct{ Seq uint64 }

// Retired tells the holder that nothing is accepted here any more: after Retire.
type Retired struct{}

// Ended: after Retire, nothing is left to drain. The process may end.
type Ended struct{}

func (Target) action()  {}
func (Take) action()    {}
func (Seen) action()    {}
func (Retired) action() {}
func (Ended) action()   {}
