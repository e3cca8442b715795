package core

import (
	"fmt"
	"slices"

	"github.com/sluice-cni/sluice/holder/wire"
)

// yield gives a new holder everything. Until it says Took this one goes on as before,
// and tells it of every change.
func (s *State) yield(to Conn, r wire.SuccessionRequest) {
	version := wire.Spoken.Common(r.Versions)
	switch {
	case s.older(r.Holder):
		s.answer(to, wire.Refused, &wire.Refusal{Code: wire.CodeOlder, Text: fmt.Sprintf("succeed: holder %s held before this one (%s, %s)", r.Holder, s.settings.Holder, s.settings.Build)})
		return
	case s.successor != 0:
		s.answer(to, wire.Refused, &wire.Refusal{Code: wire.CodeBusy, Text: "succeed: another holder is taking over already"})
		return
	case version == 0:
		s.counters[countRefused]++
		text := fmt.Sprintf("succeed: this holder (%s) speaks versions %d to %d of the protocol, the new one %d to %d", s.settings.Build, wire.MinVersion, wire.Version, r.Versions.Min, r.Versions.Max)
		s.answer(to, wire.Refused, &wire.Refusal{Code: wire.CodeUnsupported, Text: text})
		return
	}
	s.successor, s.tookBy = to, s.now+int64(tookLimit)
	s.log("info", "a new holder takes over", "pid", r.PID, "build", r.Build, "pods", len(s.pods))
	s.send(to, wire.Yield, wire.SuccessionReply{Version: version, PID: s.settings.PID, Build: s.settings.Build, Pods: len(s.pods), Exemption: s.exemption, Agents: s.others(0), Instances: slices.Clone(s.instances), Fresh: s.fresh, Holders: s.holders})
	for _, p := range s.sortedPods() {
		s.tellSuccessor(p)
	}
	s.send(to, wire.End, nil)
}

func (s *State) tellSuccessor(p *pod) {
	if s.successor != 0 {
		s.do(Send{Conn: s.successor, Kind: wire.Pod, Payload: p.Holding, Bundle: p.bundle})
	}
}

// Succeeding: another holder has been handed everything and may be about to hold it, the
// socket and the lock among it: those are not to be replaced now.
func (s *State) Succeeding() bool { return s.successor != 0 }

// emptied: the files are written anew.
func (s *State) emptied() {
	for _, p := range s.sortedPods() {
		s.do(Save{p.Holding})
	}
	s.remembered = s.memory()
	s.do(Remember{s.remembered})
}

func (s *State) took(by Conn) {
	if by != s.successor || by == 0 {
		s.misplaced(Frame{Conn: by, Kind: wire.Took}, "say succeed first")
		return
	}
	s.left = true
	s.log("info", "the new holder has taken over; this one ends")
	s.do(Leave{})
}

// maxHolders bounds the order of holders. Of more pods than that on one node at once,
// which an upgrade does not make, the oldest would count as new.
const maxHolders = 64

// enlist appends a holder that is not in the order yet.
func enlist(order []string, holder string) []string {
	if holder == "" || slices.Contains(order, holder) {
		return order
	}
	order = append(slices.Clone(order), holder)
	return order[max(len(order)-maxHolders, 0):]
}

// older: the holder held before this one did. The kubelet starts a holder that ended
// again, in its old pod, as long as that pod is there; were it to succeed, the two would
// go on succeeding each other.
func (s *State) older(holder string) bool {
	theirs, own := slices.Index(s.holders, holder), slices.Index(s.holders, s.settings.Holder)
	return theirs >= 0 && theirs < own
}
