package backend

import (
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// BenchmarkApply is what choosing adds to programming a fresh namespace.
func BenchmarkApply(b *testing.B) {
	p := plan(b)
	for name, apply := range map[string]func(int) error{
		"nft":  func(fd int) error { return nft.Apply(fd, p) },
		"auto": func(fd int) error { _, _, err := Apply(rules.BackendAuto, fd, p); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				ns := labtest.New(b)
				b.StartTimer()
				if err := apply(ns.FD()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkInstalled looks for rules where there are those of nft.
func BenchmarkInstalled(b *testing.B) {
	ns := labtest.New(b)
	if err := nft.Apply(ns.FD(), plan(b)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Installed(ns.FD()); err != nil {
			b.Fatal(err)
		}
	}
}
