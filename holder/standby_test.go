package holder

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// upgrade is an old pod's holder and a new one's, with a pod that an agent serves through
// everything.
type upgrade struct {
	t    *testing.T
	dir  string
	stay string
}

func (u upgrade) start(name string) *process {
	u.t.Helper()
	return startNamed(u.t, u.dir, 0, 30*time.Second, name, u.stay)
}

func (u upgrade) holds(p *process) {
	u.t.Helper()
	if pid := status(u.t, filepath.Join(u.dir, SocketName)).PID; pid != p.cmd.Process.Pid {
		u.t.Fatalf("process %d holds, not %d", pid, p.cmd.Process.Pid)
	}
}

// serve begins a load on a pod that is held and served; check ends it.
func (u upgrade) serve() (check, stop func()) {
	u.t.Helper()
	path := filepath.Join(u.dir, SocketName)
	p := newPod(u.t)
	p.hold(u.t, path)
	p.close()
	a := openAgent(u.t, path, wire.HelloRequest{})
	a.serveAll(u.t)
	stop = a.comeBack(u.t, path)
	await.True(u.t, "the agent has it", func() bool { return a.has(p.Netns) })
	load := newLoad(u.t)
	load.every(5*time.Millisecond, func(int) error { return roundTrip(p, "tcp4") })
	return func() {
		u.t.Helper()
		load.end()
		await.True(u.t, "the pod is held and served", func() bool {
			held := status(u.t, path).Pods
			return len(held) == 1 && held[0].Netns == p.Netns && held[0].State == wire.StateServed
		})
	}, stop
}

// The kubelet starts what ended again, in the old pod, until that is deleted.
func TestAHolderThatIsStartedAgainInAnOldPodDoesNotSucceedTheNewOne(t *testing.T) {
	t.Parallel()
	u := upgrade{t: t, dir: t.TempDir()}
	old := u.start("old-pod")
	old.ready(t)
	check, stop := u.serve()
	defer stop()
	young := u.start("new-pod")
	young.ready(t)
	<-old.exited
	for range 10 { // and is killed there, again and again
		old = u.start("old-pod")
		old.says(t, "standing by", 1)
		u.holds(young)
		old.kill()
	}
	old = u.start("old-pod")
	old.says(t, "standing by", 1)
	young.kill()
	old.ready(t)
	u.holds(old)
	young = u.start("new-pod") // as newer as it was before
	young.ready(t)
	<-old.exited
	old = u.start("old-pod")
	old.says(t, "standing by", 1)
	u.holds(young)
	check()
}

func TestAHolderThatStaysHoldsAgainWhenTheNewOneEnds(t *testing.T) {
	t.Parallel()
	u := upgrade{t: t, dir: t.TempDir(), stay: "stay"}
	old := u.start("old-pod")
	old.ready(t)
	check, stop := u.serve()
	defer stop()
	for round := 1; round <= 5; round++ {
		young := u.start("new-pod")
		young.ready(t)
		old.says(t, "standing by", round)
		u.holds(young)
		if left := old.descriptors(t, "net:["); left > 0 {
			t.Errorf("one that stands by has %d namespaces", left)
		}
		young.kill()
		old.says(t, "msg=ready", round+1)
		u.holds(old)
	}
	check()
}
