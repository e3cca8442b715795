package nft_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

const (
	nodePods = 500
	// nodeWorkers do at once what an agent does to all pods of its node.
	nodeWorkers = 2
)

// BenchmarkANodesPods does to five hundred pods, one after the other on two workers,
// what an agent does when it starts, when the cluster's ranges change, when it compares
// and, for failurePolicy bypass, all the time. The bars, a pod: exempt 0.5 ms, ranges
// 2 ms, read 1 ms, beat 0.5 ms.
func BenchmarkANodesPods(b *testing.B) {
	options := []rules.Option{rules.FromAuto(), rules.Gated(time.Hour)}
	fields := []string{"failurePolicy=bypass", "dnsCapture=true"}
	few := nodePlan(b, options, append(fields, "includeIPRanges=10.96.0.0/12,10.244.0.0/16,fd00:10:96::/112,fd00:10:244::/56")...)
	more := nodePlan(b, options, append(fields, "includeIPRanges=10.96.0.0/12,10.244.0.0/16,10.245.0.0/16,fd00:10:96::/112,fd00:10:244::/56")...)
	pods := make([]*lab.Namespace, nodePods)
	for i := range pods {
		pods[i] = labtest.New(b)
	}
	all(b, pods, func(fd int) error { return nft.Apply(fd, few) })
	agents := rules.Agents{Levels: []int{4}, IDs: []uint64{4711}}
	for _, bench := range []struct {
		name string
		do   func(round int, fd int) error
	}{
		{"exempt", func(_, fd int) error { return nft.Exempt(fd, agents) }},
		{"ranges", func(round, fd int) error {
			if round%2 == 0 {
				return nft.ReplaceSets(fd, few.Hash, more)
			}
			return nft.ReplaceSets(fd, more.Hash, few)
		}},
		{"read", func(_, fd int) error { _, _, err := nft.Read(fd); return err }},
		{"beat", func(_, fd int) error { return nft.Beat(fd, time.Hour) }},
		{"state", func(_, fd int) error { _, err := nft.StateOf(fd); return err }},
		{"check", func(_, fd int) error { return nft.Check(fd, few) }},
		{"apply", func(_, fd int) error { return nft.Apply(fd, few) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			round := 0
			for b.Loop() {
				all(b, pods, func(fd int) error { return bench.do(round, fd) })
				round++
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(round*nodePods), "µs/pod")
			if bench.name == "ranges" && round%2 == 1 { // as it was
				all(b, pods, func(fd int) error { return bench.do(1, fd) })
			}
		})
	}
}

// all does something to all pods.
func all(b *testing.B, pods []*lab.Namespace, do func(fd int) error) {
	b.Helper()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range nodeWorkers {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(pods)); i = next.Add(1) - 1 {
				if err := do(pods[i].FD()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}
