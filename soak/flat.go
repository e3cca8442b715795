package main

import "time"

// growth is the course of a quantity over a run.
type growth struct {
	quarters [4]float64 // means
	perHour  float64    // of the line that fits the last three quarters best
	peak     float64
}

// allowedGrowth is how much larger the last quarter's mean may be than the second's.
const allowedGrowth = 0.05

// course sums the samples of one quantity up. The first quarter is for warming up:
// pools fill and the heap finds its size.
func course(samples []sample, quantity int) growth {
	var g growth
	if len(samples) < 4 {
		return g
	}
	for q := range 4 {
		part := samples[len(samples)*q/4 : len(samples)*(q+1)/4]
		for _, s := range part {
			g.quarters[q] += s.values[quantity] / float64(len(part))
			g.peak = max(g.peak, s.values[quantity])
		}
	}
	g.perHour = slope(samples[len(samples)/4:], quantity)
	return g
}

// grew says whether the last quarter is above the second by more than noise.
func (g growth) grew(noise float64) bool {
	return g.quarters[3] > g.quarters[1]+max(noise, allowedGrowth*g.quarters[1])
}

// slope is the least-squares fit's rise per hour.
func slope(samples []sample, quantity int) float64 {
	var sumX, sumY, sumXX, sumXY float64
	n := float64(len(samples))
	for _, s := range samples {
		x, y := s.at.Sub(samples[0].at).Seconds(), s.values[quantity]
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	if spread := n*sumXX - sumX*sumX; spread > 0 {
		return (n*sumXY - sumX*sumY) / spread * time.Hour.Seconds()
	}
	return 0
}
