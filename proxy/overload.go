package proxy

import "log/slog"

// sayOverload tells that connections are turned away, and why. It waits for nothing.
func (s *Server) sayOverload(what string) {
	s.observe(Event{Kind: Refused, Refusal: Overloaded})
	s.notices.sayLater(noticeKey{string(Overloaded), what, 0}, func() notice {
		text := refusalTexts[Overloaded]
		return notice{level: slog.LevelWarn, message: text.message, about: []any{"reason", string(Overloaded),
			"namespace", s.Workload().Namespace, "details", what}}
	})
}
