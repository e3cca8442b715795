package kube_test

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/kube"
	"github.com/sluice-cni/sluice/vip"
)

// The book of virtual addresses changes under a Store that runs: what is in force has the
// new ones. It is no reason to put half of a cluster in force.
func TestReassignPutsOtherVirtualAddressesInForce(t *testing.T) {
	t.Parallel()
	const host = "a.example.com"
	var number, asked atomic.Int32
	address := func(n int32) netip.Addr { return netip.AddrFrom4([4]byte{240, 240, 1, byte(n)}) }
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("a", host, "HTTP"))
	s.Refuse(kubeapi.Services, 500)
	c := open(t, s, "", func(o *kube.Options) {
		o.Virtual = func(wanted []vip.Wanted) map[string][]netip.Addr {
			if slices.ContainsFunc(wanted, func(w vip.Wanted) bool { return w.Host == host }) {
				asked.Add(1)
			}
			return map[string][]netip.Addr{host: {address(number.Load())}}
		}
	})
	reassign := func() {
		t.Helper()
		before := asked.Load()
		c.Reassign()
		await.True(t, "the book is asked", func() bool { return asked.Load() > before })
	}
	await.True(t, "the entry is known", func() bool { return asked.Load() > 0 })
	number.Store(1)
	reassign()
	reassign() // nothing has moved, and the first is done
	if got := c.names(); got != "nothing yet" {
		t.Errorf("before all is known, in force: %s", got)
	}
	s.Refuse(kubeapi.Services, 0)
	for n := int32(1); n < 4; n++ {
		if number.Store(n); n > 1 {
			c.Reassign()
		}
		await.True(t, "the address in force", func() bool {
			if c.Snapshot() == nil {
				return false
			}
			v := c.Snapshot().View(mesh.Workload{Namespace: "shop"})
			return v.HostAt(address(n)) == host && v.HostAt(address(n-1)) == ""
		})
	}
}
