package core

import (
	"cmp"
	"slices"

	"github.com/sluice-cni/sluice/holder/wire"
)

// maxInstances is how many pods of agents are remembered: an upgrade has two on a node.
const maxInstances = 64

// meet notes the pod that an agent runs in. Those whose agents number them are in that
// order: after a reboot, or where the memory was lost, the younger pod's agent may come
// first. One that is not numbered comes last; before all others where its agent had
// retired already, as after an upgrade.
//
// Whatever starts processes in a pod again (a kubelet) does so in the old one as well,
// for as long as it is there. That one must not take over from its successor: it would
// retire, end and be started again the next moment, and so on.
func (s *State) meet(a *agent) {
	name := a.hello.Instance
	if len(name) > wire.MaxInstance {
		name = ""
		a.hello.Instance = ""
	}
	switch {
	case name == "":
		return
	case slices.Contains(s.instances, name):
	case a.hello.Retired:
		s.instances = slices.Insert(s.instances, 0, name)
	default:
		s.instances = append(s.instances, name)
	}
	s.sortNumbered()
	surplus := len(s.instances) - maxInstances
	s.instances = slices.DeleteFunc(s.instances, func(old string) bool {
		drop := surplus > 0 && !s.runs(old)
		if drop {
			surplus--
		}
		return drop
	})
}

// sortNumbered puts the pods of which numbers are known in their order, into the places
// that they have among all.
func (s *State) sortNumbered() {
	numbers := map[string]int64{}
	for _, a := range s.sortedAgents() {
		if n := a.hello.InstanceNumber; n != 0 {
			numbers[a.hello.Instance] = n
		}
	}
	var places []int
	var numbered []string
	for i, name := range s.instances {
		if numbers[name] != 0 {
			places, numbered = append(places, i), append(numbered, name)
		}
	}
	slices.SortStableFunc(numbered, func(a, b string) int { return cmp.Compare(numbers[a], numbers[b]) })
	for i, at := range places {
		s.instances[at] = numbered[i]
	}
}

// runs says that an agent of the pod is connected.
func (s *State) runs(instance string) bool {
	for _, a := range s.agents {
		if a.hello.Instance == instance {
			return true
		}
	}
	return false
}

// rank is an agent's place in the order of pods, from 1; 0: it is in none.
func (s *State) rank(a *agent) int {
	if a.hello.Instance == "" {
		return 0
	}
	return slices.Index(s.instances, a.hello.Instance) + 1
}

// precedes says that a's pod was there before o's, so that a gives way to o.
func (s *State) precedes(a, o *agent) bool {
	return s.rank(a) != 0 && s.rank(a) < s.rank(o)
}

// standsBy says that an agent which comes is not needed, since a younger pod's serves. One
// that only has every pod may never take: nothing may be known to it to serve them by.
func (s *State) standsBy(a *agent) bool {
	if a.info.Retired || a.info.Serving {
		return false
	}
	return slices.ContainsFunc(s.sortedAgents(), func(o *agent) bool { return o != a && s.usable(o) && o.info.Serving && s.precedes(a, o) })
}
