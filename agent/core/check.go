package core

// The rules of every pod are checked in turn, CheckEvery each, CheckGap apart: the
// ring has the one in front that waits longest, so a step looks at one pod only.

type turn struct {
	pod *pod
	at  int64 // of the last check
}

func (s *State) queueCheck(p *pod) {
	p.inRing = s.ring.PushBack(&turn{pod: p, at: s.now})
	if s.ring.Len() == 1 {
		s.checkAt = s.now + int64(s.settings.CheckEvery)
	}
}

func (s *State) unqueueCheck(p *pod) {
	s.ring.Remove(p.inRing)
	if s.ring.Len() == 0 {
		s.checkAt = 0
	}
}

func (s *State) fireCheck() {
	if s.checkAt == 0 || s.now < s.checkAt {
		return
	}
	front := s.ring.Front()
	first := front.Value.(*turn)
	if due := first.at + int64(s.settings.CheckEvery); due > s.now {
		s.checkAt = due
		return
	}
	first.at = s.now
	s.ring.MoveToBack(front)
	first.pod.checkDue = true
	s.touch(first.pod)
	next := s.ring.Front().Value.(*turn)
	s.checkAt = max(s.now+int64(s.settings.CheckGap), next.at+int64(s.settings.CheckEvery))
}
