package proxy

import "github.com/sluice-cni/sluice/mesh"

// choice is what an algorithm chooses from: n things, of which wanted says which take
// part (nil: all), each with a weight (nil: all the same) and with as much to do as
// active says. It is pure: what is left to chance is drawn by the caller.
type choice struct {
	n      int
	wanted func(int) bool
	weight func(int) uint32
	active func(int) int32
}

// pick returns the index of the one chosen, -1 where none is wanted. draw is random,
// but for RoundRobin, where it counts the turns.
func (c choice) pick(b mesh.Balance, draw uint32) int {
	k := c.n
	if c.wanted != nil {
		k = 0
		for i := range c.n {
			if c.wanted(i) {
				k++
			}
		}
	}
	switch {
	case k == 0:
		return -1
	case k == 1:
		return c.nth(0)
	case b == mesh.RoundRobin && c.weight != nil:
		// A step coprime to most totals spreads the turns instead of sending runs.
		return c.share(uint64(draw)*2654435761, func(i int) uint64 { return uint64(c.weight(i)) })
	case b == mesh.RoundRobin, b == mesh.Random:
		return c.nth(int(draw % uint32(k)))
	case c.weight != nil: // Envoy's formula, with its activeRequestBias of 1
		return c.share(mixed(draw), func(i int) uint64 {
			return uint64(c.weight(i)) << 16 / uint64(max(c.active(i), 0)+1)
		})
	}
	// The same may be drawn twice, as in Envoy: two of two are not always compared.
	first, second := c.nth(int(draw%uint32(k))), c.nth(int(mixed(draw)%uint64(k)))
	if c.active(second) < c.active(first) {
		return second
	}
	return first
}

// first is the index of the first that is wanted, -1 for none.
func (c choice) first() int {
	for i := range c.n {
		if c.wanted == nil || c.wanted(i) {
			return i
		}
	}
	return -1
}

// nth is the index of the nth that is wanted, of which there are more than n.
func (c choice) nth(n int) int {
	if c.wanted == nil {
		return n
	}
	for i := range c.n {
		if c.wanted(i) {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

// share picks in proportion to what each has of the whole. Where all have nothing it is
// the first.
func (c choice) share(draw uint64, of func(int) uint64) int {
	total := uint64(0)
	for i := range c.n {
		if c.wanted == nil || c.wanted(i) {
			total += of(i)
		}
	}
	if total == 0 {
		return c.nth(0)
	}
	draw %= total
	for i := range c.n {
		if c.wanted != nil && !c.wanted(i) {
			continue
		}
		own := of(i)
		if draw < own {
			return i
		}
		draw -= own
	}
	return c.nth(0) // something began to be active meanwhile
}

// mixed makes another number of a random one, as good as a second draw (the last steps
// of splitmix64).
func mixed(draw uint32) uint64 {
	z := uint64(draw)*0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
