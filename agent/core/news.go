package core

import "github.com/sluice-cni/sluice/holder/wire"

// News is what became of a pod, for the log: it is enrolled, it was captured and is no
// more (untouched; connections may drain), it is left to another mesh's sidecar, or what is decided of it cannot be done (failed). What an action
// says of itself when it fails is not among it.
type News struct {
	Pod    wire.Netns
	Name   wire.PodName
	State  PodState
	Reason string // failed: why; else what decided
	// LeftAlone is Decision's, of a pod that is untouched.
	LeftAlone string
	// Before: the holder had it before this agent served.
	Before bool
}

// TakeNews are the news since it was called last.
func (s *State) TakeNews() []News {
	all := s.news
	s.news = nil
	return all
}

// notice adds to the news where the pod is not what was said of it last.
func (s *State) notice(p *pod) {
	if s.retired || p.gone || p.reason != "" {
		return
	}
	state, reason := s.podState(p)
	switch state {
	case PodFailed:
		if p.said == state && p.saidWhy == reason {
			return
		}
	case PodEnrolled, PodUntouched, PodLeaving:
		if state == PodLeaving {
			state = PodUntouched // for new connections it is
		}
		if p.said == state || p.said == "" && state == PodUntouched && p.decision.LeftAlone == "" {
			return
		}
		reason = p.decision.Why
	default:
		return
	}
	named := p.described.Name
	s.news = append(s.news, News{
		Pod: p.id, Name: wire.PodName{Namespace: named.Namespace, Name: named.Name, UID: named.UID},
		State: state, Reason: reason, LeftAlone: p.decision.LeftAlone, Before: p.before && p.said == "",
	})
	p.said, p.saidWhy = state, reason
}
