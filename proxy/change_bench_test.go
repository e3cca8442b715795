package proxy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/crowd"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
)

// BenchmarkChangeInForce is the time from the rename of one of 30 000 files to the
// server's new state, with every host's routes in use in one view or in 50. It fails
// when the median misses the bar.
func BenchmarkChangeInForce(b *testing.B) {
	for _, crowded := range []struct {
		name       string
		of         func(int) []byte
		host       string
		namespaces int
	}{
		{"small", crowd.Small, "host-%d.example.com", 1},
		{"realistic", crowd.Realistic, "api-%d.shop.example.com", 1},
		{"realistic, 20 namespaces", crowd.Realistic, "api-%d.shop.example.com", 20},
	} {
		b.Run(crowded.name, func(b *testing.B) {
			changeInForce(b, crowded.of, crowded.host, crowded.namespaces)
		})
	}
}

func changeInForce(b *testing.B, of func(int) []byte, host string, namespaces int) {
	const bar = 20 * time.Millisecond
	dir := b.TempDir()
	if err := crowd.Write(dir, 10_000, of); err != nil {
		b.Fatal(err)
	}
	store, err := file.Open(dir, file.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	inForce := make(chan struct{}, 1)
	servers := make([]*Server, namespaces)
	for i := range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		if servers[i], err = New(Config{Listeners: []*net.TCPListener{l.(*net.TCPListener)}, Workload: mesh.Workload{Namespace: fmt.Sprint("team-", i)}}); err != nil {
			b.Fatal(err)
		}
		store.Subscribe(servers[i].Update)
		view := servers[i].state.Load().view
		for n := range 10_000 {
			for _, port := range view.Ports() {
				view.Listener(port).MatchHTTP(fmt.Appendf(nil, host, n))
			}
		}
	}
	store.Subscribe(func(*mesh.Snapshot) {
		select {
		case inForce <- struct{}{}:
		default:
		}
	})
	<-inForce
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- store.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			b.Error(err)
		}
	}()
	name := filepath.Join(dir, crowd.File(7, 1))
	text, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		changed := bytes.Replace(text, []byte("timeout: 3s"), fmt.Appendf(nil, "timeout: %ds", 4+n%7), 1)
		if err := os.WriteFile(filepath.Join(dir, ".next"), changed, 0o644); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := os.Rename(filepath.Join(dir, ".next"), name); err != nil {
			b.Fatal(err)
		}
		<-inForce
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median := took[len(took)/2]
	b.ReportMetric(float64(median)/1e6, "ms/change")
	if median > bar {
		b.Errorf("%s from a change to its being in force, the bar is %s", median, bar)
	}
}
