package core

import (
	"encoding/json"
	"fmt"

	"github.com/sluice-cni/sluice/holder/wire"
)

// frame goes to whoever its kind and its sender lead to.
func (s *State) frame(f Frame) {
	a := s.agents[f.Conn]
	switch f.Kind {
	case wire.Release:
		read(s, f, func(r wire.Releasing) { s.release(f.Conn, r) })
	case wire.Status:
		s.answer(f.Conn, wire.Status, s.Status())
	case wire.Hello:
		read(s, f, func(h wire.HelloRequest) { s.greet(f.Conn, h, f.Process) })
	case wire.Succeed:
		read(s, f, func(r wire.SuccessionRequest) { s.yield(f.Conn, r) })
	case wire.Took:
		s.took(f.Conn)
	case wire.Ack, wire.Seen, wire.End, wire.Take, wire.Retired, wire.Alive:
		if a == nil {
			s.misplaced(f, "say hello first")
			return
		}
		s.agentFrame(a, f)
	default:
		s.counters[countRefused]++
		text := fmt.Sprintf("%s: nothing that this holder (%s, version %d of the protocol) knows how to answer", f.Kind, s.settings.Build, wire.Version)
		s.answer(f.Conn, wire.Refused, &wire.Refusal{Code: wire.CodeUnsupported, Text: text})
	}
}

func (s *State) agentFrame(a *agent, f Frame) {
	switch f.Kind {
	case wire.Ack:
		read(s, f, func(k wire.Acknowledgement) { s.acknowledged(a, k) })
	case wire.Seen:
		read(s, f, func(k wire.Sight) { s.seen(f.Conn, k.Seq) })
	case wire.End:
		if a.welcomed {
			s.kept(a)
		}
	case wire.Take:
		if !a.welcomed {
			s.misplaced(f, "wait for welcome")
			return
		}
		s.take(a)
	case wire.Retired:
		read(s, f, func(r wire.Retirement) { s.retired(a, r) })
	case wire.Alive:
		a.heard = s.now
	}
}

// read decodes the payload, or refuses the frame and ends the connection.
func read[T any](s *State, f Frame, use func(T)) {
	var v T
	if len(f.Payload) > 0 {
		if err := json.Unmarshal(f.Payload, &v); err != nil {
			s.misplaced(f, err.Error())
			return
		}
	}
	use(v)
}

func (s *State) misplaced(f Frame, why string) {
	s.counters[countRefused]++
	s.refuse(f.Conn, wire.CodeInvalid, fmt.Sprintf("%s: %s", f.Kind, why))
	s.do(Close{Conn: f.Conn, Why: fmt.Sprintf("%s: %s", f.Kind, why)})
	s.closed(f.Conn)
}

func (s *State) closed(c Conn) {
	if a := s.agents[c]; a != nil {
		s.agentLeft(a)
	}
	if s.successor == c && c != 0 {
		s.successor = 0
		s.log("warn", "the new holder went before it took over; this one goes on")
	}
}
