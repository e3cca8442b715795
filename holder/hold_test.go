package holder

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

func TestAHeldPodsConnectionsWaitUntilAnAgentTakesThem(t *testing.T) {
	t.Parallel()
	path, _ := startHere(t, Options{})
	p := newPod(t)
	if reply := p.hold(t, path); reply.Agent || reply.Exemption != "" {
		t.Errorf("held: %+v, and no agent was ever there", reply)
	}
	p.close() // the plugin ends
	waiting, err := p.connect("tcp4")
	if err != nil {
		t.Fatalf("the holder keeps the socket, and connecting fails: %v", err)
	}
	defer waiting.Close()
	a := openAgent(t, path, wire.HelloRequest{})
	a.serveAll(t)
	if err := echo(waiting); err != nil {
		t.Errorf("who waited is not served: %v", err)
	}
	later, err := p.connect("tcp6")
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	if err := echo(later); err != nil {
		t.Error(err)
	}
	q := newPod(t)
	if reply := q.hold(t, path); !reply.Agent || reply.Exemption != wire.ExemptByCgroup {
		t.Errorf("held: %+v, and an agent is there that is exempt by its cgroup", reply)
	}
	await.True(t, "the agent has the second pod", func() bool { return a.has(q.Netns) })
	p.release(t, path)
	await.True(t, "the agent knows that the first is gone", func() bool { return !a.has(p.Netns) })
	if c, err := p.connect("tcp4"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("somebody has a released pod's socket: %v, %v", c, err)
	}
}

func TestAPodIsGoneWhenItsPathIs(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"watched", "polled"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o := Options{look: time.Hour}
			if how == "polled" {
				o.look = 20 * time.Millisecond
			}
			path, _ := startHere(t, o)
			p := newPod(t)
			p.hold(t, path)
			p.close()
			p.unpin(t)
			await.True(t, "nothing is held", func() bool { return len(status(t, path).Pods) == 0 })
			if left, err := os.ReadDir(filepath.Join(filepath.Dir(path), podsDir)); err != nil || len(left) > 0 {
				t.Errorf("state files are left: %v, %v", left, err)
			}
		})
	}
}

func TestWithoutAnAgentConnectionsAreResetAtTheLimit(t *testing.T) {
	t.Parallel()
	path, _ := startHere(t, Options{WaitLimit: 300 * time.Millisecond})
	p, q := newPod(t), newPod(t)
	q.Policy, q.Gate = wire.PolicyBypass, time.Hour
	began := time.Now()
	p.hold(t, path)
	q.hold(t, path)
	early, err := p.connect("tcp4")
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	early.Write([]byte("who waits has sent something"))
	if err := reset(early); err != nil {
		t.Error(err)
	}
	if waited := time.Since(began); waited < 300*time.Millisecond {
		t.Errorf("was reset after %s", waited)
	}
	late, err := p.connect("tcp6") // the kernel completes it; the reset follows
	if err == nil {
		if err := reset(late); err != nil {
			t.Error(err)
		}
		late.Close()
	}
	patient, err := q.connect("tcp4")
	if err != nil {
		t.Fatal(err)
	}
	defer patient.Close()
	datagrams(t, p)
	a := openAgent(t, path, wire.HelloRequest{})
	a.serveAll(t)
	if err := echo(patient); err != nil {
		t.Errorf("a bypass pod with a gate of an hour: %v", err)
	}
	await.True(t, "nothing is refused", func() bool {
		c, err := p.connect("tcp4")
		if err != nil {
			return false
		}
		defer c.Close()
		return echo(c) == nil
	})
}

// datagrams sends DNS packets until none is waiting: they are thrown away.
func datagrams(t *testing.T, p *pod) {
	t.Helper()
	for i, s := range p.Sockets {
		if s.Network != "udp4" {
			continue
		}
		c, err := p.ns.Dial(context.Background(), "udp4", net.JoinHostPort("127.0.0.1", port(s.Port)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("a question")); err != nil {
			t.Fatal(err)
		}
		raw, err := p.files[i].SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		await.True(t, "the packet is thrown away", func() bool {
			waiting := 0
			raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
			return waiting == 0
		})
	}
}

func TestARunningPodIsNotTakenFromTheOneThatHoldsIt(t *testing.T) {
	t.Parallel()
	path, _ := startHere(t, Options{})
	p := newPod(t)
	p.hold(t, path)
	a := openAgent(t, path, wire.HelloRequest{})
	var refusal *wire.Refusal
	if err := a.Session.Hold(context.Background(), p.Holding, p.files); !errors.As(err, &refusal) || refusal.Code != wire.CodeHeld {
		t.Errorf("%v", err)
	}
	q := newPod(t)
	if err := a.Session.Hold(context.Background(), q.Holding, q.files); err != nil {
		t.Fatal(err)
	}
	a.serveAll(t)
	await.True(t, "the agent is brought what it found", func() bool { return a.has(q.Netns) })
	if err := a.Session.Release(q.Netns); err != nil {
		t.Error(err)
	}
	await.True(t, "it is held no more", func() bool { return len(status(t, path).Pods) == 1 })
	if a.heard(wire.Gone) {
		t.Error("the agent is told what it asked for itself")
	}
}

func TestAHoldWithoutAHolderWaitsAndSaysWho(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPod(t)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := client.Hold(ctx, filepath.Join(dir, SocketName), p.Holding, p.files)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	held := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		defer cancel()
		_, err := client.Hold(ctx, filepath.Join(dir, SocketName), p.Holding, p.files)
		held <- err
	}()
	startHere(t, Options{RunDir: dir})
	if err := <-held; err != nil {
		t.Errorf("the holder came, and the hold failed: %v", err)
	}
}
