package core

import (
	"slices"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

// Status is the node as it is now, for people and metrics.
type Status struct {
	// Connected: the holder is there. Decides: a policy has come, which selects pods; until
	// then the plugin may have none either, and let pods pass. Ready: both, the holder has
	// told its pods, there is a snapshot, every pod that can be served is, and a sweep over
	// the node is done.
	Connected, Decides, Ready bool
	Retired, Leaving          bool
	// Settled: no pod is captured that is not among Pods as it is. Before that a node
	// without captured pods, and one whose pods nobody told of yet, look the same. It
	// takes no snapshot.
	Settled           bool
	Generation        uint64 // of the policy
	Agents            wire.Agents
	Others            int
	Serving, Draining int
	Pods              []PodStatus // by id
}

// PodState is where a pod is, in a word.
type PodState string

const (
	PodUntouched PodState = "untouched" // not selected, nothing of ours in it
	PodWaiting   PodState = "waiting"   // for facts, a plugin's rules, a configuration
	PodPending   PodState = "pending"   // on the way
	PodEnrolled  PodState = "enrolled"  // captured, served, as decided
	PodLeaving   PodState = "leaving"   // on the way out
	PodFailed    PodState = "failed"    // something has to be tried again
	PodGone      PodState = "gone"
)

// PodStatus is one pod.
type PodStatus struct {
	Pod         wire.Netns
	Name        selection.Pod
	Container   string
	Path        string
	PID         int
	State       PodState
	Reason      string // why it is not further; "" when enrolled or untouched
	Why         string // what decided
	Rules       RulesState
	Hash        string
	Gate        time.Duration // 0: block
	Mark        bool          // exempt by mark
	Ports       Ports
	Held        bool
	Served      bool
	FactsKnown  bool
	Drains      int // Stops that still drain
	Drifts      int // times that Check found a difference
	Warnings    []string
	Description Description
	Decision    Decision
}

// Status tells the state of everything.
func (s *State) Status() Status {
	out := Status{
		Connected: s.connected, Decides: s.decide != nil,
		Ready:   s.connected && s.decide != nil && s.taken && s.snapshot && s.swept && !s.retired,
		Retired: s.retired, Leaving: s.leaving, Settled: s.settled(),
		Generation: s.generation, Agents: s.roster.Agents, Others: s.roster.Others,
		Serving: s.serving, Draining: len(s.open),
	}
	for _, p := range s.order {
		out.Pods = append(out.Pods, s.podStatus(p))
	}
	return out
}

func (s *State) settled() bool {
	return s.connected && s.listed && s.swept && !s.retired && !slices.ContainsFunc(s.order, func(p *pod) bool {
		return !p.gone && (p.found || p.files != 0) && p.rules.State == RulesUnknown
	})
}

func (s *State) podStatus(p *pod) PodStatus {
	state, reason := s.podState(p)
	return PodStatus{
		Pod: p.id, Name: p.described.Name, Container: p.container, Path: p.where(), PID: p.pid,
		State: state, Reason: reason, Why: p.decision.Why,
		Rules: p.rules.State, Hash: p.rules.Hash, Gate: p.rules.Gate, Mark: p.rules.Mark != 0,
		Ports: p.described.Ports, Held: p.held, Served: p.served != 0, FactsKnown: p.described.Facts,
		Drains: len(p.drains), Drifts: p.drifts,
		Warnings:    slices.Concat(p.decision.Warnings, p.notes),
		Description: p.described, Decision: p.decision,
	}
}

// podState is the state in a word, and what keeps the pod in it.
func (s *State) podState(p *pod) (PodState, string) {
	mode := s.mode(p)
	idle := p.files == 0 && p.rules.State != RulesApplied && p.rules.State != RulesDisabled
	switch {
	case p.gone:
		return PodGone, p.reason
	case s.retired && p.files != 0:
		return PodLeaving, "this agent serves no more"
	case p.reason != "":
		return PodFailed, p.reason
	case p.decision.Err != "" && s.judged(p) && !s.leaving:
		return PodFailed, p.decision.Err
	case idle && p.rules.State == RulesStandalone:
		return PodUntouched, "its rules were made by a plugin without an agent, or by sluice exec"
	case idle && mode != enrol:
		return PodUntouched, ""
	case mode == leave:
		return PodLeaving, s.leavingReason(p)
	case s.awaitsFacts(p):
		return PodWaiting, "for its labels, from the container runtime or Kubernetes"
	case !s.snapshot:
		return PodWaiting, "for a configuration"
	case p.files != 0 && p.rules.State == RulesNone && !p.committed:
		return PodWaiting, s.commitReason(p, mode)
	case !s.connected && p.files == 0:
		return PodWaiting, "for the holder"
	case p.files != 0 && p.served == p.files && p.rules.State == RulesApplied && s.exempt(p) &&
		(mode == keep || p.rules.Hash == p.decision.Hash):
		return PodEnrolled, s.keptReason(p, mode)
	}
	return PodPending, ""
}

// commitReason is what a pod waits for that has no rules yet: as awaitCommit does.
func (s *State) commitReason(p *pod, m mode) string {
	if m == enrol && p.pid == 0 && s.now >= s.commitBy(p) {
		return "for a process in it: its plugin has applied no rules, so the agent does once one runs"
	}
	return "for the plugin's rules"
}

func (s *State) leavingReason(p *pod) string {
	switch {
	case len(p.drains) > 0:
		return "its connections drain"
	case p.rules.State == RulesDisabled && p.served == 0 && s.roster.Others > 0:
		return "connections of another agent drain"
	case !s.connected:
		return "the holder is away"
	}
	return ""
}

func (s *State) keptReason(p *pod, m mode) string {
	switch {
	case m == enrol:
		return ""
	case s.decide == nil:
		return "as its rules say: there is no policy yet"
	case !p.named && !p.described.Facts:
		return "as its rules say: nobody knows this pod"
	}
	return "as its rules say"
}
