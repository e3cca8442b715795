package core

import (
	"maps"

	"github.com/sluice-cni/sluice/holder/wire"
)

// Counters of HolderStatus, by the names that metrics show.
const (
	countHolds    = "holds"
	countReleases = "releases"
	countRefused  = "refused_messages"
	countKept     = "kept_by_agents"
	countReopened = "reopened"
	countHellos   = "agent_sessions"
	countTakes    = "takes"
	countRefusing = "refusing_pods"
	// CountUnwritten is the edge's: state files that could not be written.
	CountUnwritten = "unwritten_state_files"
)

var counterNames = []string{countHolds, countReleases, countRefused, countKept, countReopened, countHellos, countTakes, countRefusing, CountUnwritten}

// Status is how the holder is.
func (s *State) Status() wire.HolderStatus {
	status := wire.HolderStatus{Build: s.settings.Build, PID: s.settings.PID, Agents: s.connected(0), Pods: []wire.PodStatus{}, Counters: maps.Clone(s.counters)}
	for _, p := range s.sortedPods() {
		state := wire.StateWaiting
		switch {
		case p.broken:
			state = wire.StateBroken
		case s.there:
			state = wire.StateServed
		case p.refusing:
			state = wire.StateRefusing
		}
		status.Pods = append(status.Pods, wire.PodStatus{Netns: p.Netns, Attachment: p.Attachment, Pod: p.Pod, Sockets: p.Sockets,
			Policy: p.Policy, State: state, Reason: p.reason, AgentError: p.agentError})
	}
	return status
}

// Count adds one to a counter of the edge's.
func (s *State) Count(name string) { s.counters[name]++ }
