package proxy

import (
	"sync/atomic"
	"time"
)

// routeLimit is a timer that begins when it is started.
type routeLimit struct {
	after time.Duration
	fire  func()
	timer atomic.Pointer[time.Timer]
}

func newLimit(after time.Duration, fire func()) *routeLimit {
	return &routeLimit{after: after, fire: fire}
}

func (l *routeLimit) start() {
	if l.after > 0 {
		l.timer.Store(time.AfterFunc(l.after, l.fire))
	}
}

func (l *routeLimit) stop() {
	if t := l.timer.Load(); t != nil {
		t.Stop()
	}
}
