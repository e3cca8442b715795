package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

func series(value func(second int) float64) (all []sample) {
	begun := time.Unix(1_000_000, 0)
	for i := range 1200 {
		all = append(all, sample{at: begun.Add(time.Duration(i) * time.Second), values: [4]float64{value(i)}})
	}
	return all
}

func TestGrowthIsToldFromWarmingUpAndFromNoise(t *testing.T) {
	t.Parallel()
	noise := rand.New(rand.NewPCG(1, 2))
	for _, x := range []struct {
		name  string
		value func(int) float64
		grew  bool
	}{
		{"level", func(int) float64 { return 100 }, false},
		{"warming up", func(i int) float64 { return 100 - 60/(1+float64(i)/10) }, false},
		{"noisy", func(int) float64 { return 100 + 40*noise.Float64() }, false},
		{"shrinking", func(i int) float64 { return 100 - float64(i)/20 }, false},
		{"a slow leak", func(i int) float64 { return 100 + float64(i)/60 }, true},
		{"a leak under noise", func(i int) float64 { return 100 + float64(i)/60 + 40*noise.Float64() }, true},
	} {
		g := course(series(x.value), 0)
		if g.grew(2) != x.grew {
			t.Errorf("%s: %+v", x.name, g)
		}
	}
}

func TestTheTrendIsTheSlopeAnHour(t *testing.T) {
	t.Parallel()
	g := course(series(func(i int) float64 { return 5 + float64(i)/3600 }), 0)
	if g.perHour < 0.999 || g.perHour > 1.001 {
		t.Errorf("%v", g.perHour)
	}
}

func TestAQuantileIsWithinAStepOfTheTruth(t *testing.T) {
	t.Parallel()
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	if q := h.quantile(0.99); q < 990*time.Millisecond || q > 1100*time.Millisecond || h.most != time.Second {
		t.Errorf("%v, %v", q, h.most)
	}
}
