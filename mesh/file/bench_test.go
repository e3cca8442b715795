package file

import (
	"log/slog"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/crowd"
)

// BenchmarkLoad30000 reads 30 000 files of one object each and puts them in force. It
// fails when even the fastest round of small ones misses the bar; those as they grow in
// use are measured beside it.
func BenchmarkLoad30000(b *testing.B) {
	const bar = 3 * time.Second
	load := func(of func(int) []byte, bar time.Duration) func(*testing.B) {
		return func(b *testing.B) {
			dir := b.TempDir()
			if err := crowd.Write(dir, 10_000, of); err != nil {
				b.Fatal(err)
			}
			fastest := time.Hour
			for b.Loop() {
				start := time.Now()
				if _, err := Open(dir, Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
					b.Fatal(err)
				}
				fastest = min(fastest, time.Since(start))
			}
			if fastest > bar {
				b.Errorf("%s to load 30 000 resources, the bar is %s", fastest, bar)
			}
		}
	}
	b.Run("small", load(crowd.Small, bar))
	b.Run("realistic", load(crowd.Realistic, time.Hour))
}
