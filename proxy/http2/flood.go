package http2

import "time"

// bucket is a budget of frames that cost work and carry nothing: each takes one,
// time and progress give some back.
type bucket struct {
	size, perSecond float64
	used            float64
	last            time.Time
}

// take spends one and says whether the budget held.
func (b *bucket) take(now time.Time) bool {
	b.used = max(b.used-b.perSecond*now.Sub(b.last).Seconds(), 0)
	b.last = now
	b.used++
	return b.used <= b.size
}

func (b *bucket) giveBack(n float64) { b.used = max(b.used-n, 0) }

// guard counts what floods are made of. Envoy's limits are the model: 100 resets
// of ten thousand, 10 WINDOW_UPDATEs for each DATA frame, 100 PRIORITYs a stream.
type guard struct {
	noise  bucket // SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown frames
	resets bucket // streams that the peer gave up, or that it made us reset
}

func newGuard(now time.Time) guard {
	return guard{
		noise:  bucket{size: 1000, perSecond: 100, last: now},
		resets: bucket{size: 500, perSecond: 50, last: now},
	}
}

// progress is a frame that carries something, in either direction.
func (g *guard) progress() { g.noise.giveBack(10) }

// finished is a stream that ended as streams should.
func (g *guard) finished() { g.resets.giveBack(1) }
