package holder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// A holder is killed before each of the things it does, in turn: while it starts,
// holds, brings, releases, yields and takes over. Each time somebody starts it again,
// as the kubelet would, and in the end everything is as if nothing had happened.
func TestKilledAtEachStepNothingIsLost(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"the first", "its successor"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			const atOnce = 4
			var mu sync.Mutex
			steps, done := 0, false
			var work sync.WaitGroup
			for range atOnce {
				work.Go(func() {
					for {
						mu.Lock()
						if done || t.Failed() {
							mu.Unlock()
							return
						}
						steps++
						n := steps
						mu.Unlock()
						died := false
						t.Run(fmt.Sprint(n), func(t *testing.T) { died = story(t, who, n) })
						if !died {
							mu.Lock()
							done = true
							mu.Unlock()
						}
					}
				})
			}
			work.Wait()
			t.Logf("%d steps", steps)
			if steps < 20 {
				t.Errorf("the holder was killed at %d steps only", steps)
			}
		})
	}
}

// story holds two pods, upgrades the holder, and releases one; the one who is named
// dies before its n-th step, if it comes so far.
func story(t *testing.T, who string, n int) (died bool) {
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	k := &kubelet{t: t, dir: dir}
	defer k.stop()
	first := map[bool]int{true: n}[who == "the first"]
	k.start(first)
	p, q := newPod(t), newPod(t)
	a := openAgent(t, path, wire.HelloRequest{})
	stopComing := a.comeBack(t, path)
	defer stopComing()
	a.serveAll(t)
	p.hold(t, path)
	q.hold(t, path)
	p.close()
	q.close()
	await.True(t, "the agent has both", func() bool { return a.has(p.Netns) && a.has(q.Netns) })

	load := newLoad(t) // from here on the agent has the sockets, and nobody may be refused
	load.every(5*time.Millisecond, func(n int) error { return roundTrip(p, "tcp4") })
	k.start(map[bool]int{true: n}[who != "the first"])
	k.settle()
	q.release(t, path) // who died before it had told the agent has not answered
	await.True(t, "the agent knows that one is gone", func() bool { return !a.has(q.Netns) })
	q.unpin(t)
	await.True(t, "the other is held", func() bool {
		held := status(t, path).Pods
		return len(held) == 1 && held[0].Netns == p.Netns && held[0].State == wire.StateServed
	})
	load.end()
	if err := roundTrip(p, "tcp6"); err != nil {
		t.Error(err)
	}
	wantFiles(t, dir, p.Netns.String()+suffix)
	p.release(t, path)
	await.True(t, "the agent knows that both are gone", func() bool { return !a.has(p.Netns) })
	p.unpin(t)
	wantFiles(t, dir)
	k.settle()
	if left := k.current().descriptors(t, "net:["); left > 0 {
		t.Errorf("the holder has %d namespaces and holds none", left)
	}
	return k.died()
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, podsDir))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("state files are %v, want %v", got, want)
	}
}

// kubelet starts a holder again when none is left.
type kubelet struct {
	t    *testing.T
	dir  string
	mu   sync.Mutex
	all  []*process
	over bool
	work sync.WaitGroup
}

func (k *kubelet) start(dieAt int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	p := startProcess(k.t, k.dir, dieAt)
	k.all = append(k.all, p)
	k.work.Go(func() {
		<-p.exited
		if p.cmd.ProcessState.ExitCode() != 0 { // not one that was succeeded
			k.start(0)
		}
	})
}

// settle waits until one holder is left, and it is ready.
func (k *kubelet) settle() {
	k.t.Helper()
	await.True(k.t, "one holder is left", func() bool {
		running := k.running()
		return len(running) == 1 && strings.Contains(running[0].log.String(), "msg=ready")
	})
}

func (k *kubelet) current() *process { return k.running()[0] }

func (k *kubelet) running() (running []*process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.all {
		select {
		case <-p.exited:
		default:
			running = append(running, p)
		}
	}
	return running
}

func (k *kubelet) died() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.all {
		if strings.Contains(p.log.String(), "dies before") {
			return true
		}
	}
	return false
}

func (k *kubelet) stop() {
	k.mu.Lock()
	k.over = true
	k.mu.Unlock()
	for _, p := range k.running() {
		p.kill()
	}
	k.work.Wait()
}
