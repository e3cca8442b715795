package main

import (
	"math"
	"time"
)

// histogram counts times in steps of ten per cent, from a microsecond on.
type histogram struct {
	counts [256]int
	total  int
	most   time.Duration
}

const step = 1.1

func (h *histogram) add(d time.Duration) {
	i := int(math.Log(max(1, float64(d)/float64(time.Microsecond))) / math.Log(step))
	h.counts[min(i, len(h.counts)-1)]++
	h.total++
	h.most = max(h.most, d)
}

// quantile is the time that a share of all did not exceed.
func (h *histogram) quantile(share float64) time.Duration {
	left := int(math.Ceil(share * float64(h.total)))
	for i, n := range h.counts {
		if left -= n; left <= 0 {
			return time.Duration(math.Pow(step, float64(i+1)) * float64(time.Microsecond))
		}
	}
	return h.most
}
