package core

import (
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

// Event is something that happened outside. The order in which events are given is
// the order in which they happened, as far as the core can tell.
type Event interface{ event() }

// Connected: the holder answered hello. The Held events up to Listed are the pods that
// it holds and this agent has no files of.
type Connected struct {
	Roster
	// Want are pods that this agent has and the holder lacks: they are given to it
	// again (Keep). All others that the agent has are held.
	Want []wire.Netns
}

// Listed ends what Connected began: the holder's "end".
type Listed struct{}

// HolderLost: the connection to the holder ended. Pods are served on; nothing is
// opened, kept or released until Connected.
type HolderLost struct{}

// Held: the holder holds a pod: one in its list, or a new one from ADD, or that another
// agent found. (One that this agent opened itself comes as Done only.) The same
// namespace again, with other Files, replaces the former: the plugin tried again.
type Held struct {
	Pod        wire.Netns
	Files      Files
	Attachment wire.Attachment
	Name       selection.Pod // as the plugin knows it: no labels, annotations from CNI
	Document   selection.Document
	Ports      Ports         // of the sockets held
	Gate       time.Duration // how long a bypass pod is redirected without a beat; 0 means block
	// Found: no ADD held it but an agent that found it running (wire.Holding.Found).
	// Then nobody else is about to apply rules, and without a name nobody knows it.
	Found bool
}

// Files names a set of descriptors at the edge: those that came with one Held, or
// that one OpenAndHold made. 0 is none. The core gives it back in the actions, so
// that descriptors of a namespace that is gone are never taken for those of a new
// one with the same inode.
type Files uint64

// Ports are where a pod's sockets listen in its namespace. 0 means no such socket.
type Ports struct{ Outbound, DNS uint16 }

// Gone: the holder let a pod go, because DEL released it or its namespace is no more.
type Gone struct{ Pod wire.Netns }

// Found is one sweep over the namespaces of the node, from all sources together.
type Found struct {
	// Complete says that no source failed: what is not among Pods is not there.
	Complete bool
	Pods     []FoundPod
}

// FoundPod is a namespace that a sweep saw. The host's is never among them.
type FoundPod struct {
	Pod  wire.Netns
	Path string // where it can be opened; "" when only PID leads there
	PID  int    // a process inside, the lowest; 0 when there is none
	// Foreign: a pod's own process may have made it and the rules in it. Unless somebody
	// knows it, or holds it, it is not even looked at.
	Foreign bool
	// Known says that a container runtime or Kubernetes knows this pod: Name and DNS
	// are what it says, labels too. A namespace nobody knows is never enrolled; if it
	// has rules of ours it is served as they say.
	Known bool
	Name  selection.Pod
	DNS   *selection.DNS
	// Container is the sandbox, for DEL without a namespace; "" when unknown.
	Container string
}

// Facts is what a source says about one pod outside a sweep: right after ADD, or
// when labels change.
type Facts struct {
	Pod  wire.Netns
	Name selection.Pod
	DNS  *selection.DNS
}

// Noted replaces what Status says in Warnings beside the decision's own: a container
// that can set marks, no DNS servers known.
type Noted struct {
	Pod      wire.Netns
	Warnings []string
}

// PolicyChanged: what selects pods, or the settings, changed. Every pod is decided
// again. Before the first, nothing is done to any pod but serving it.
type PolicyChanged struct {
	Generation uint64 // for Status only
	Decide     Decide
}

// RangesChanged: the ranges behind "auto" changed. Only pods with Decision.Auto, or
// without a valid decision, are decided again.
type RangesChanged struct{ Decide Decide }

// Decide says what a pod should be. It must be pure: the same answer for the same
// description until the next PolicyChanged or RangesChanged.
type Decide func(Description) Decision

// SnapshotReady: there is a configuration to route by. No pod is served before.
type SnapshotReady struct{}

// AgentsChanged: agents came or went, or took over from another (the holder's
// "present").
type AgentsChanged struct {
	Roster
	Seq uint64 // of the holder's message: see Seen
}

// Roster is which agents there are on this node.
type Roster struct {
	// Agents are the cgroups whose sockets are exempt from the redirect in every pod:
	// this agent's own, always, and the others'.
	Agents wire.Agents
	// Others is how many agents there are beside this one. Rules are not removed under
	// their connections.
	Others int
	// Rivals is how many of the others serve and have not retired. Only one agent at a
	// time changes rules (except for exemptions and beats): the one without rivals.
	Rivals int
	// Unretired is how many of the others have not said that they retired, Rivals among
	// them: what they had under way may still be done to rules, as that of one that was
	// stopped and goes on.
	Unretired int
}

// Retire: another agent serves everything (the holder's "retire"), or this process is
// to end (SIGTERM). Nothing is accepted any more, what is open drains, then Retired.
// Rules stay as they are.
type Retire struct {
	// Ends: this process is to end, whatever becomes of the other agent.
	Ends bool
}

// Resume takes Retire back: the other agent is gone.
type Resume struct{}

// Leave: sluice is being uninstalled. As if no pod were selected, until the process
// ends; Status().Pods has no one left that is captured when it is done.
type Leave struct{}

// Drained: everything that a Stop with a drain left open has ended, by itself or at
// the limit. Each such Stop that works brings one; it may come before its Done.
type Drained struct {
	Pod  wire.Netns
	Stop uint64 // Target.Seq of the Stop
}

// Fell: what served Files has ended by itself, its sockets having failed. It is started
// again.
type Fell struct {
	Pod   wire.Netns
	Files Files
	Err   error
}

// Done brings the result of an action about a pod; each one gets exactly one.
// (Take, Seen, Retired and Ended get none.)
type Done struct {
	Action PodAction
	// Err is why it failed: then what it was to change may have changed or not. The
	// core knows ErrNoRules, ErrOtherRules and ErrGone; anything else is tried again.
	Err error

	Rules Rules  // of ReadBack
	Files Files  // of OpenAndHold
	Ports Ports  // of OpenAndHold: where the sockets listen
	Mark  uint32 // of OpenAndHold: drawn for this pod
	Drift string // of Check: what differs, one line; "" when nothing does
}

// Tick: the time that Next named has come.
type Tick struct{}

func (Connected) event()     {}
func (Listed) event()        {}
func (HolderLost) event()    {}
func (Held) event()          {}
func (Gone) event()          {}
func (Found) event()         {}
func (Facts) event()         {}
func (Noted) event()         {}
func (PolicyChanged) event() {}
func (RangesChanged) event() {}
func (SnapshotReady) event() {}
func (AgentsChanged) event() {}
func (Retire) event()        {}
func (Resume) event()        {}
func (Leave) event()         {}
func (Drained) event()       {}
func (Fell) event()          {}
func (Done) event()          {}
func (Tick) event()          {}
