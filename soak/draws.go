package main

import (
	"math/rand/v2"
	"sync"
	"time"
)

// draws are one seed's random numbers, for many goroutines.
type draws struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDraws(seed uint64) *draws { return &draws{rng: rand.New(rand.NewPCG(seed, 0))} }

func (d *draws) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

func (d *draws) upTo(limit time.Duration) time.Duration {
	return time.Duration(d.below(int(limit)) + 1)
}

func (d *draws) order(n int) []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Perm(n)
}

func (d *draws) oneIn(n int) bool { return d.below(n) == 0 }
