package file

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// The book of virtual addresses changes under a store that runs: what is in force has the
// new addresses, the old ones lead nowhere, and nothing is told where nothing moved.
func TestReassignPutsOtherVirtualAddressesInForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", entryYAML("a"))
	var number atomic.Int32
	address := func(n int32) netip.Addr { return netip.AddrFrom4([4]byte{240, 240, 1, byte(n)}) }
	store, err := Open(dir, Options{Log: slog.New(slog.DiscardHandler), Options: mesh.Options{
		Virtual: func(wanted []vip.Wanted) map[string][]netip.Addr {
			all := map[string][]netip.Addr{}
			for _, w := range wanted {
				all[w.Host] = []netip.Addr{address(number.Load())}
			}
			return all
		}}})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan *mesh.Snapshot, 10)
	store.Subscribe(func(s *mesh.Snapshot) { told <- s })
	<-told
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	store.Reassign() // nothing has moved
	for n := int32(1); n < 4; n++ {
		number.Store(n)
		store.Reassign()
		v := (<-told).View(mesh.Workload{})
		if got := v.HostAt(address(n)); got != "a.example.com" {
			t.Errorf("%s is %q", address(n), got)
		}
		if got := v.HostAt(address(n - 1)); got != "" {
			t.Errorf("%s is still %q", address(n-1), got)
		}
		if name := v.Name("a.example.com"); name == nil || len(name.Addresses) != 1 || name.Addresses[0] != address(n) {
			t.Errorf("%+v", name)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(told) > 0 {
		t.Errorf("%d snapshots more", len(told))
	}
}
