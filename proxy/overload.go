package proxy

import "log/slog"

// sayOverload tells that connections are turned away, and why. It waits for nothing.
func (s *Server) sayOverload(what string) {
	s.observe(Event{Kind: Refused, Refusal: Overloaded})
	s.notices.sayLater(noticeKey{string(Overloaded), what, 0}, func() notice {
		text := refusalTexts[Overloaded]
		about := append([]any{"reason", string(Overloaded)}, s.whose()...)
		return notice{level: slog.LevelWarn, message: text.message, about: append(about, "details", what)}
	})
}
