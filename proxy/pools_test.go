package proxy

import (
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

func TestAPoolThatTheNewestSnapshotUsesIsNeverRetired(t *testing.T) {
	t.Parallel()
	p := newPools(&Server{})
	old := &state{pools: p, generation: p.nextGeneration()}
	latest := &state{pools: p, generation: p.nextGeneration()}
	kept, left := &mesh.Cluster{Name: "kept"}, &mesh.Cluster{Name: "left"}
	u := latest.upstream(kept)
	if old.upstream(kept) != u { // a request that began earlier does not age it
		t.Error("two pools for one cluster")
	}
	gone := old.upstream(left)
	now := time.Now()
	for range 3 {
		p.sweepOnce(now)
		now = now.Add(leftFor + time.Second)
	}
	if u.retired || !gone.retired {
		t.Errorf("used: retired %v; unused: retired %v", u.retired, gone.retired)
	}
	if latest.upstream(&mesh.Cluster{Name: "kept", Fingerprint: 1}) == u {
		t.Error("other settings share a pool")
	}
}
