package core

import (
	"slices"

	"github.com/sluice-cni/sluice/holder/wire"
)

// maxInstances is how many pods of agents are remembered: an upgrade has two on a node.
const maxInstances = 64

// meet notes the pod that an agent runs in. One that is not known comes last; before all
// others where its agent had retired already, which is how a holder that lost its memory
// sees the pod of before an upgrade.
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
	if name == "" || slices.Contains(s.instances, name) {
		return
	}
	if a.hello.Retired {
		s.instances = slices.Insert(s.instances, 0, name)
	} else {
		s.instances = append(s.instances, name)
	}
	surplus := len(s.instances) - maxInstances
	s.instances = slices.DeleteFunc(s.instances, func(old string) bool {
		drop := surplus > 0 && !s.runs(old)
		if drop {
			surplus--
		}
		return drop
	})
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
