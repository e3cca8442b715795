package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// Netns is a network namespace's identity: its file's device and inode in nsfs. Nobody
// else gets the same as long as the namespace is held.
type Netns struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func (n Netns) String() string { return fmt.Sprintf("%d-%d", n.Device, n.Inode) }

// Attachment is what CNI knows a pod's interface by.
type Attachment struct {
	ContainerID string `json:"container,omitempty"`
	Interface   string `json:"interface,omitempty"`
	// Path is where the namespace can be found: CNI_NETNS. It is empty for a running
	// pod that was found through a process.
	Path string `json:"path,omitempty"`
}

// PodName is the pod as Kubernetes names it; all empty where nobody said.
type PodName struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

func (p PodName) String() string {
	if p.Name == "" {
		return p.Namespace
	}
	return p.Namespace + "/" + p.Name
}

// What a pod's socket is for.
const (
	RoleTCP       = "tcp"        // a listener of the proxy
	RoleDNSPacket = "dns-packet" // UDP
	RoleDNSStream = "dns-stream" // a listener of DNS over TCP
)

// Socket describes one of a pod's sockets.
type Socket struct {
	Role string `json:"role"`
	// Network is tcp4, tcp6, udp4 or udp6.
	Network string `json:"network"`
	Port    uint16 `json:"port"`
}

// A pod's failure policies, as in the rules' configuration.
const (
	PolicyBlock  = "block"
	PolicyBypass = "bypass"
)

// Holding is a pod whose sockets are held. Its files are the sockets in the order of
// Sockets, then the namespace.
type Holding struct {
	Netns
	Attachment
	Pod     PodName  `json:"pod"`
	Sockets []Socket `json:"sockets"`
	// Policy is PolicyBlock or PolicyBypass.
	Policy string `json:"policy"`
	// Gate is for how long a bypass pod's rules redirect without an agent; in
	// nanoseconds on the wire.
	Gate time.Duration `json:"gate,omitempty"`
	// Document is the plugin's word to the agent, opaque to the holder.
	Document json.RawMessage `json:"document,omitempty"`
	// Found is set by an agent that holds a pod it found running. Where the namespace
	// is held already it is refused (CodeHeld), while a plugin's Hold replaces what is
	// there: a runtime that tries an ADD again has no other.
	Found bool `json:"found,omitempty"`
	// Cookie tells these sockets from others of the same pod: SO_COOKIE of the first
	// (see Cookie). The holder sets it.
	Cookie uint64 `json:"cookie,omitempty"`
	// Watched says that the holder saw the namespace at Path once: when it is not there
	// any more, the pod is gone. The holder sets it.
	Watched bool `json:"watched,omitempty"`
	// Everywhere says that the listeners are on every address, not on loopback; where
	// they have to be opened anew, it is there. The holder sets it.
	Everywhere bool `json:"everywhere,omitempty"`
}

// HeldReply says that a pod is held.
type HeldReply struct {
	// Agent: one is there and serves.
	Agent bool `json:"agent"`
	// Exemption is how agents' own connections are told from the pod's:
	// ExemptByCgroup, ExemptByMark, or empty as long as no agent ever said.
	Exemption string `json:"exemption,omitempty"`
}

const (
	ExemptByCgroup = "cgroup"
	ExemptByMark   = "mark"
)

// Releasing names a pod that is gone, by its container, of which an empty Interface is
// all, or by its namespace.
type Releasing struct {
	ContainerID string `json:"container,omitempty"`
	Interface   string `json:"interface,omitempty"`
	Netns       *Netns `json:"netns,omitempty"`
}

// Codes of a Refusal.
const (
	CodeUnsupported = "unsupported" // an unknown kind, or no common version
	CodeInvalid     = "invalid"     // the message or its files are wrong
	CodeHeld        = "held"        // a found pod that is held already
	CodeFull        = "full"        // no descriptors or no room left
	CodeBusy        = "busy"        // try again: too many peers, a succession is under way, or took too long
	CodeDenied      = "denied"      // the peer is not root
	CodeOlder       = "older"       // a newer holder than the one that asks holds already
)

// Refusal answers what the holder will not do; it is an error with a text for people.
type Refusal struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

func (r *Refusal) Error() string { return r.Text }

// Agents is what exempts agents' connections from the rules: the ids of their cgroups,
// and the levels of the hierarchy they stand at (rules.Agents has the same shape).
type Agents struct {
	Levels []int    `json:"levels,omitempty"`
	IDs    []uint64 `json:"ids,omitempty"`
}

// Versions is a range of the protocol's versions.
type Versions struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// Spoken are the versions of this build.
var Spoken = Versions{Min: MinVersion, Max: Version}

// Common is the newest version of both, zero where there is none.
func (v Versions) Common(o Versions) int {
	if newest := min(v.Max, o.Max); newest >= max(v.Min, o.Min) {
		return newest
	}
	return 0
}

// Have is a pod that an agent has files of already, from a session before.
type Have struct {
	Netns
	// Cookie is the Holding's.
	Cookie uint64 `json:"cookie"`
}

// HelloRequest is how an agent introduces itself.
type HelloRequest struct {
	Versions Versions `json:"versions"`
	PID      int      `json:"pid"`
	Build    string   `json:"build"`
	Agents   Agents   `json:"agents"`
	// Exemption is ExemptByCgroup or ExemptByMark; the holder tells it to plugins.
	Exemption string `json:"exemption"`
	// Have are the pods that need not be brought. The holder brings one all the same
	// when its sockets are others by now.
	Have []Have `json:"have,omitempty"`
	// Retired: this agent drains, and is not to be given pods.
	Retired bool `json:"retired,omitempty"`
	// StandsBy: it retired since another took over, not since it is to end: it serves
	// again when the holder says Resume.
	StandsBy bool `json:"standsBy,omitempty"`
	// Instance is the pod that this agent runs in (its UID), of at most MaxInstance
	// bytes; empty: none. A supervisor starts a new process in the same pod when one
	// ends. Of two pods' agents the one of the older pod stands by: it is told to Retire
	// as soon as it is welcome.
	Instance string `json:"instance,omitempty"`
	// InstanceNumber grows from each pod on the node to the next, over reboots; 0: not
	// known. Of pods without one the holder goes by which it saw first.
	InstanceNumber int64 `json:"instanceNumber,omitempty"`
	// Serving: this agent had said Take before the connection broke, and serves, since
	// ServingFor (nanoseconds on the wire). Where two say so the later one goes on.
	Serving    bool          `json:"serving,omitempty"`
	ServingFor time.Duration `json:"servingFor,omitempty"`
}

// MaxInstance bounds HelloRequest.Instance.
const MaxInstance = 128

// Retirement is the payload of Retired.
type Retirement struct {
	// Ends: this process is to end, and will not serve again.
	Ends bool `json:"ends,omitempty"`
}

// WelcomeReply admits an agent.
type WelcomeReply struct {
	Version int    `json:"version"`
	PID     int    `json:"pid"`
	Build   string `json:"build"`
	// Others are the agents that are there beside this one.
	Others []AgentInfo `json:"others,omitempty"`
	// Want are pods that the agent has and the holder lacks: the agent answers with a
	// Keep for each, then End.
	Want []Netns `json:"want,omitempty"`
}

// Process is a process that cannot be mistaken for a later one of the same number.
type Process struct {
	PID int `json:"pid"`
	// Start is when it started, in clock ticks since the machine did (proc(5), field 22
	// of stat).
	Start uint64 `json:"start"`
	// Namespace is the inode of the PID namespace in which that is its number.
	Namespace uint64 `json:"namespace"`
}

// AgentInfo is an agent as the others see it.
type AgentInfo struct {
	PID     int    `json:"pid"`
	Build   string `json:"build"`
	Agents  Agents `json:"agents"`
	Serving bool   `json:"serving,omitempty"`
	Retired bool   `json:"retired,omitempty"`
	// Process is the agent as the kernel showed it to the holder; zero where it is in a
	// PID namespace that the holder does not see. The holder sets it, and knows by it
	// who will not come back.
	Process Process `json:"process,omitzero"`
}

// Roster is the payload of Present: the agents that are there beside the one it is
// sent to. Their ids must be exempt in every pod.
type Roster struct {
	Seq    uint64      `json:"seq"`
	Others []AgentInfo `json:"others"`
}

// Sight is the payload of Seen.
type Sight struct {
	// Seq is the Roster's.
	Seq uint64 `json:"seq"`
}

// Acknowledgement answers a Pod; the next follows (32 may be under way).
type Acknowledgement struct {
	Netns
	// Error is why the agent cannot serve the pod yet; for the log and `sluice status`.
	Error string `json:"error,omitempty"`
}

// Departure is the payload of Gone.
type Departure struct {
	Netns
	// Why is for the log.
	Why string `json:"why,omitempty"`
}

// SuccessionRequest is a new holder's.
type SuccessionRequest struct {
	Versions Versions `json:"versions"`
	PID      int      `json:"pid"`
	Build    string   `json:"build"`
	// Holder is who it is over its restarts: its pod's UID. Who held before the one that
	// runs is refused (CodeOlder).
	Holder string `json:"holder,omitempty"`
}

// SuccessionReply is the old holder's; its files are the listening socket and the lock.
type SuccessionReply struct {
	Version int    `json:"version"`
	PID     int    `json:"pid"`
	Build   string `json:"build"`
	Pods    int    `json:"pods"`
	// Exemption is what agents last said.
	Exemption string `json:"exemption,omitempty"`
	// Agents are those that are connected, and will come to the new holder.
	Agents []AgentInfo `json:"agents,omitempty"`
	// Instances are the agents' pods, from the oldest to the youngest.
	Instances []string `json:"instances,omitempty"`
	// Fresh: a holder died before this one, and agents may have what was lost then.
	Fresh bool `json:"fresh,omitempty"`
	// Holders are those that held so far, in the order in which each did first.
	Holders []string `json:"holders,omitempty"`
}

// HolderStatus is how a holder is.
type HolderStatus struct {
	Build string `json:"build"`
	PID   int    `json:"pid"`
	// Agents that are there.
	Agents []AgentInfo `json:"agents"`
	Pods   []PodStatus `json:"pods"`
	// Counters by name, for metrics: each only ever grows while the holder lives.
	Counters map[string]uint64 `json:"counters"`
}

// States of a pod at the holder.
const (
	StateServed   = "served"   // an agent is there
	StateWaiting  = "waiting"  // no agent: connections wait in the queue
	StateRefusing = "refusing" // no agent for longer than the limit: connections are reset
	StateBroken   = "broken"   // sockets were lost in a crash and could not be opened again yet
)

// PodStatus is a pod as the holder sees it.
type PodStatus struct {
	Netns
	Attachment
	Pod     PodName  `json:"pod"`
	Sockets []Socket `json:"sockets"`
	Policy  string   `json:"policy"`
	State   string   `json:"state"`
	Reason  string   `json:"reason,omitempty"`
	// AgentError is what the serving agent's Ack said.
	AgentError string `json:"agentError,omitempty"`
}
