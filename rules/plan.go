package rules

import (
	"time"

	"go4.org/netipx"
)

// Plan is a Config as sets and chains: pure data that a backend puts into the
// kernel whole. The number of rules does not depend on the number of ranges.
type Plan struct {
	Hash    string // Config.Hash
	Config  Config // what it was made from
	Running bool   // made for a namespace that has connections already
	Gate    time.Duration
	Silent  bool    // applying it says nothing about a proxy: see Silent
	Node    bool    // a node's agent is the proxy: see NodeMode
	Auto    bool    // the ranges are the cluster's: see FromAuto
	Agents  *Agents // who is exempt in node mode; nil leaves that as it is
	Sets    []Set
	Chains  []Chain
	Frames  Frames
}

// Frames is what happens, on every interface of the namespace, to frames that a
// packet socket sends: they pass beneath all the chains. No rules, no such layer.
type Frames struct {
	Sets  []Set
	Rules []Rule
}

// SetType is what a set's elements are, in nft's words.
type SetType string

const (
	SetIPv4      SetType = "ipv4_addr"
	SetIPv6      SetType = "ipv6_addr"
	SetPort      SetType = "inet_service"
	SetUID       SetType = "uid"
	SetGID       SetType = "gid"
	SetMark      SetType = "mark"
	SetInterface SetType = "ifname"
	SetCgroup    SetType = "cgroupsv2"
	SetFamily    SetType = "nf_proto"
)

// Set is a named set; one of its lists is used, according to Type. Ranges are
// merged: neither overlapping nor touching.
type Set struct {
	Name       string
	Type       SetType
	Addresses  []netipx.IPRange
	Ports      Ports
	Numbers    []uint32
	Interfaces []string
	Cgroups    []string // paths; the kernel holds their ids
	IDs        []uint64 // of cgroups: the kernel's numbers
	// Dynamic sets are filled while the rules are in force: by rules (ActionAlarm)
	// or by heartbeats. Their elements expire and are no part of the plan.
	Dynamic bool
	// What Open sets hold is written by others, agents or heartbeats, and no part of
	// the plan.
	Open bool
}

// Interval reports whether the elements are ranges.
func (s Set) Interval() bool {
	return s.Type == SetIPv4 || s.Type == SetIPv6 || s.Type == SetPort
}

// Chain is an ordered list of rules. One without a Hook is entered by a jump.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
	// An Open chain is written by agents; what others do not know is no part of the plan.
	Open bool
}

// Hook is where a chain stands in the path of a packet.
type Hook struct {
	Type     string // "nat" or "filter"
	Point    Point
	Priority int32
}

// Point is a place in the path of a packet, in nft's words.
type Point string

const (
	Output      Point = "output"      // what the namespace sends
	Postrouting Point = "postrouting" // what leaves, after all redirects
	Prerouting  Point = "prerouting"  // what arrives
	Forward     Point = "forward"     // what arrives and goes on
)

// Rule applies its action to the packets that all its matches accept. Its name is
// unique in the chain: CHECK reports it, and `nft list` shows it as the comment.
type Rule struct {
	Name    string
	Reason  Reason
	Matches []Match
	Action  Action
}

// Match is one condition. Key says of what; a key about a header holds only for
// packets that have it.
type Match struct {
	Key  Key
	Set  string // the set to look up in; "" compares with Port
	Not  bool   // not in the set
	Port uint16
	// Level is how deep in the hierarchy KeyCgroup's cgroups are, from the root
	// that their paths begin at.
	Level int
}

// Key is the property of a packet that a Match looks at.
type Key uint8

const (
	KeyUID Key = iota
	KeyGID
	KeyMark
	KeyCgroup      // of the socket, or the one above it that is at Level
	KeyInterface   // the outgoing one
	KeyLoopback    // outgoing interface is lo
	KeyInInterface // the one it arrived by
	KeyLocalDst    // the destination is an address of the namespace
	KeyFamily      // IPv4 or IPv6
	KeyMarked      // any mark but 0
	KeyIPv4Dst     // an IPv4 packet and its destination
	KeyIPv6Dst     // an IPv6 packet and its destination
	KeyTCPPort     // TCP and its destination port
	KeyUDPPort     // UDP and its destination port
	KeyTCPSrcPort  // TCP and its source port
	KeyUDPSrcPort  // UDP and its source port
	KeyTCP         // any TCP
	KeySYN         // the packet that opens a TCP connection
	KeyNew         // conntrack has not seen this connection before
	KeyFirst       // a SYN of which conntrack has let no earlier one leave
	KeyIGMP        // any IGMP
	KeyICMPOther   // ICMP except an echo request
	KeyICMPv6Other // ICMPv6 except an echo request
	KeyOngoing     // conntrack has seen the other direction, or it is related
	KeyRewritten   // a redirect changed its destination
	KeyForeignSrc  // its source is no address of the namespace
	KeyLeaves      // the interface it leaves by in the end is not lo
	KeyToLoopback4 // IPv4 and its destination is in 127.0.0.0/8
	KeyToLoopback6 // IPv6 and its destination is ::1

	// Of frames only:
	KeyRouted    // it went through routing: no packet socket sent it
	KeyARP       // an ARP frame
	KeyNotIP     // neither an IPv4 nor an IPv6 frame, by its own word
	KeyFrameIPv4 // an IPv4 frame, by its own word, and its destination
	KeyFrameIPv6 // an IPv6 frame, by its own word, and its destination
	KeyNotTCP    // a transport protocol that can be read and is not TCP
	KeyTransport // a transport protocol that can be read
	KeyMadeHere  // it did not arrive: whoever is not routed and made it has a packet socket
	KeyBroadcast // an IPv4 frame, by its own word, to 255.255.255.255
)

// Action is what a rule does.
type Action struct {
	Kind  ActionKind
	Port  uint16 // ActionRedirect
	Chain string // ActionJump
	Set   string // ActionAlarm
}

// ActionKind is the kind of an Action.
type ActionKind uint8

const (
	ActionAccept   ActionKind = iota // ends the walk of this hook
	ActionJump                       // walks Chain, then comes back
	ActionRedirect                   // to Port: of the loopback address, or the arriving interface's
	ActionReject                     // answers with port unreachable
	ActionReset                      // answers with a TCP reset
	ActionZone                       // puts the packet in the DNS conntrack zone
	ActionDrop                       // drops it without a word
	ActionAlarm                      // more often than AlarmRate: puts the family in Set for AlarmTime, and drops
)

// AlarmRate, AlarmBurst and AlarmTime bound how fast marks can be guessed: packets
// a second and at once with a wrong mark, and how long after more than that the
// right one is not honoured either.
const (
	AlarmRate  = 10
	AlarmBurst = 50
	AlarmTime  = 5 * time.Second
)

// DNSZone is the conntrack zone of captured DNS. In the default zone a query the
// proxy sends from a source port that an application used a moment ago would be
// taken for that application's flow, and redirected to the proxy itself.
const DNSZone = 1
