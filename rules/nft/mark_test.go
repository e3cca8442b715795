package nft_test

import (
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// Whoever may set marks can try them all; what counts is that the right one does
// not work any more once many wrong ones were tried, and works for the proxy again
// when that has ended.
func TestMarksCannotBeGuessed(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	w := newWire(t, rulestest.NewPair(t))
	const right = 0x40001
	apply(t, w.Pod, rulestest.Plan(t, "exemption=mark", "exemptMark=0x40001", "excludeOutboundPorts=9999", "includeOutboundPorts=80"))
	markedTo := func(mark int) escape.Attempt {
		return escape.Attempt{Name: "marked", Send: func() { escape.Connect(w.To4, 80, escape.Mark(mark)) }}
	}
	if seen := w.watch(t, markedTo(right)); len(seen) == 0 {
		t.Fatal("the exempt mark is not exempt")
	}
	for name, to := range map[string]escape.Attempt{
		"to a range": {Name: "sweep", Send: func() {
			for mark := right - 400; mark < right+100; mark++ {
				escape.Datagram(w.To4, 443, escape.Mark(mark))
			}
		}},
		"to an IPv6 range": {Name: "sweep", Send: func() {
			for mark := right - 400; mark < right+100; mark++ {
				escape.Connect(w.To6, 443, escape.Mark(mark))
			}
		}},
	} {
		if seen := w.watch(t, to); len(seen) > 0 {
			t.Errorf("%s: %d packets arrived from a sweep", name, len(seen))
		}
	}
	if seen := w.watch(t, markedTo(right)); len(seen) > 0 {
		t.Error("the exempt mark is honoured right after a sweep")
	}
	await.True(t, "the exemption to come back", func() bool { return len(w.watch(t, markedTo(right))) > 0 })
}

func TestAFewWrongMarksDoNotHurtTheProxy(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	w := newWire(t, rulestest.NewPair(t))
	apply(t, w.Pod, rulestest.Plan(t, "exemption=mark", "exemptMark=7", "excludeOutboundPorts=9999"))
	w.watch(t, escape.Attempt{Name: "some", Send: func() {
		for mark := range 20 {
			escape.Datagram(w.To4, 443, escape.Mark(100+mark))
		}
	}})
	if seen := w.watch(t, escape.Attempt{Name: "proxy", Send: func() { escape.Connect(w.To4, 80, escape.Mark(7)) }}); len(seen) == 0 {
		t.Error("the exempt mark is not honoured after a few packets with other marks")
	}
}
