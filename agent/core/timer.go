package core

import "container/heap"

// timers are the pods that wait for a time, the soonest first; of the same time the
// one with the least id.
type timers struct{ pods []*pod }

func (t *timers) Len() int { return len(t.pods) }

func (t *timers) Less(i, j int) bool {
	a, b := t.pods[i], t.pods[j]
	if a.wake != b.wake {
		return a.wake < b.wake
	}
	return compare(a.id, b.id) < 0
}

func (t *timers) Swap(i, j int) {
	t.pods[i], t.pods[j] = t.pods[j], t.pods[i]
	t.pods[i].place, t.pods[j].place = i, j
}

func (t *timers) Push(x any) {
	p := x.(*pod)
	p.place = len(t.pods)
	t.pods = append(t.pods, p)
}

func (t *timers) Pop() any {
	last := len(t.pods) - 1
	p := t.pods[last]
	t.pods[last] = nil
	t.pods = t.pods[:last]
	p.place = -1
	return p
}

// set has the pod wait until at; 0 has it wait for nothing.
func (t *timers) set(p *pod, at int64) {
	p.wake = at
	switch {
	case at == 0 && p.place >= 0:
		heap.Remove(t, p.place)
	case at != 0 && p.place >= 0:
		heap.Fix(t, p.place)
	case at != 0:
		heap.Push(t, p)
	}
}

func (t *timers) next() int64 {
	if len(t.pods) == 0 {
		return 0
	}
	return t.pods[0].wake
}

// fire has those looked at whose time has come.
func (s *State) fire() {
	for at := s.timers.next(); at != 0 && at <= s.now; at = s.timers.next() {
		p := s.timers.pods[0]
		s.timers.set(p, 0)
		s.touch(p)
	}
	s.fireCheck()
}
