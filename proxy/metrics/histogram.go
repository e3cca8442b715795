package metrics

import "sync/atomic"

// bounds are Envoy's, of milliseconds and of bytes alike.
var bounds = [...]float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000,
	300_000, 600_000, 1_800_000, 3_600_000}

// histogram counts in thousandths of its unit: microseconds of milliseconds. Its
// count is the sum of its buckets, so the two never disagree.
type histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64 // one more for what is above all
	sum     atomic.Uint64
}

var thousandths = func() (all [len(bounds)]uint64) {
	for i, b := range bounds {
		all[i] = uint64(b * 1000)
	}
	return all
}()

func (h *histogram) observe(v uint64) {
	i := 0
	for i < len(thousandths) && v > thousandths[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(v)
}

// read gives Prometheus' form: how many, their sum, and how many up to each bound.
func (h *histogram) read() (count uint64, sum float64, upTo map[float64]uint64) {
	count, upTo = cumulate(h.buckets[:], bounds[:])
	return count, float64(h.sum.Load()) / 1000, upTo
}

// cumulate counts how many there are, and how many up to each bound; there is one
// bucket more than there are bounds.
func cumulate(buckets []atomic.Uint64, bounds []float64) (count uint64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(bounds))
	for i, b := range bounds {
		count += buckets[i].Load()
		upTo[b] = count
	}
	return count + buckets[len(bounds)].Load(), upTo
}
