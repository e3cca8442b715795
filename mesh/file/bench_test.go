package file

import (
	"log/slog"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/crowd"
)

// BenchmarkLoad30000 reads 30 000 files of one object each and puts them in force. It
// fails when even the fastest round misses the bar.
func BenchmarkLoad30000(b *testing.B) {
	const bar = 3 * time.Second
	for name, of := range map[string]func(int) []byte{"small": crowd.Small, "realistic": crowd.Realistic} {
		b.Run(name, func(b *testing.B) {
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
		})
	}
}
