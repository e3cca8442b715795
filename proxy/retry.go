package proxy

import (
	"math/rand/v2"
	"time"
)

// Envoy's default policy: two tries beyond the first where the connection could
// not be made, after a random delay below 25 ms × (2ⁿ − 1), at most 250 ms.
const (
	connectTries  = 3
	backOffBase   = 25 * time.Millisecond
	backOffLimit  = 250 * time.Millisecond
	backOffJitter = 1000
)

// backOff waits before the n-th retry, n from 1.
func (s *Server) backOff(n int) {
	limit := min(backOffBase*time.Duration(1<<n-1), backOffLimit)
	time.Sleep(limit * time.Duration(rand.IntN(backOffJitter)) / backOffJitter)
}

// random draws for weighted choices.
func (s *Server) random() uint32 { return rand.Uint32() }
