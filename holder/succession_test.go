package holder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// comeBack dials again whenever the session ends, as agents do, until stop.
func (a *testAgent) comeBack(t testing.TB, path string) (stop func()) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-a.ended:
				a.open(t, path, wire.HelloRequest{Serving: true, ServingFor: time.Since(began)})
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

func TestTwentySuccessionsRefuseNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	current := startProcess(t, dir, 0)
	current.ready(t)
	served := []*pod{newPod(t), newPod(t), newPod(t)}
	for _, p := range served {
		p.hold(t, path)
		p.close()
	}
	a := openAgent(t, path, wire.HelloRequest{})
	a.serveAll(t)
	stop := a.comeBack(t, path)
	defer stop()

	load := newLoad(t)
	load.every(2*time.Millisecond, func(n int) error {
		return roundTrip(served[n%len(served)], []string{"tcp4", "tcp6"}[n%2])
	})
	churned := newPod(t)
	load.every(10*time.Millisecond, func(n int) error {
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		defer cancel()
		if n%2 == 1 {
			return client.Release(ctx, path, churned.ContainerID, churned.Interface)
		}
		_, err := client.Hold(ctx, path, churned.Holding, churned.files)
		return err
	})
	load.every(10*time.Millisecond, func(int) error { // each a connect to the control socket
		c, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		return c.Close()
	})
	began := time.Now()
	for range 20 {
		load.more(t, 120)
		next := startProcess(t, dir, 0)
		next.ready(t)
		select {
		case <-current.exited:
		case <-time.After(await.Patience):
			t.Fatal("the old holder does not end")
		}
		if code := current.cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("the old holder ended with %d", code)
		}
		current = next
	}
	connections := load.end()
	t.Logf("%d connections and calls in %s", connections, time.Since(began))
	for _, p := range served {
		if err := roundTrip(p, "tcp4"); err != nil {
			t.Error(err)
		}
	}
	if held := status(t, path).Pods; len(held) < len(served) {
		t.Errorf("held are %v", held)
	}
}

func TestWhoWaitsGoesOnWaitingThroughASuccession(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	old := startProcess(t, dir, 0)
	old.ready(t)
	p := newPod(t)
	p.hold(t, path)
	p.close()
	waiting, err := p.connect("tcp4")
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	startProcess(t, dir, 0).ready(t)
	<-old.exited
	a := openAgent(t, path, wire.HelloRequest{})
	a.serveAll(t)
	if err := echo(waiting); err != nil {
		t.Error(err)
	}
	if len(a.Welcome.Want) > 0 {
		t.Errorf("the new holder lacks %v", a.Welcome.Want)
	}
}

// roundTrip is a new connection, a question and its answer.
func roundTrip(p *pod, network string) error {
	c, err := p.connect(network)
	if err != nil {
		return err
	}
	defer c.Close()
	return echo(c)
}

// load does things at a rate, however long each takes, and counts what fails.
type load struct {
	t     testing.TB
	quit  chan struct{}
	once  sync.Once
	work  sync.WaitGroup
	count atomic.Int64
	fails atomic.Int64
}

func newLoad(t testing.TB) *load {
	l := &load{t: t, quit: make(chan struct{})}
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) every(d time.Duration, do func(n int) error) {
	jobs := make(chan int)
	for range 16 {
		l.work.Go(func() {
			for n := range jobs {
				l.count.Add(1)
				if err := do(n); err != nil {
					if l.fails.Add(1) < 10 {
						l.t.Errorf("%s: %v", time.Now().Format("05.000"), err)
					}
				}
			}
		})
	}
	l.work.Go(func() {
		defer close(jobs)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.quit:
				return
			case <-tick.C:
			}
			select {
			case <-l.quit:
				return
			case jobs <- n:
			}
		}
	})
}

// more waits for so many more.
func (l *load) more(t testing.TB, n int64) {
	t.Helper()
	enough := l.count.Load() + n
	await.True(t, "the load goes on", func() bool { return l.count.Load() >= enough })
}

func (l *load) end() (count int64) {
	l.t.Helper()
	l.once.Do(func() { close(l.quit) })
	l.work.Wait()
	if n := l.fails.Load(); n > 0 {
		l.t.Error(fmt.Errorf("%d of %d failed", n, l.count.Load()))
	}
	return l.count.Load()
}

// A holder that was too late for the one before must not be a second one beside it.
func TestATookThatIsRefusedChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	lock, err := os.Create(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	old := make(chan error, 1)
	go func() { old <- refuseTook(l, socket, lock) }()
	h := &holder{Options: Options{RunDir: dir, before: func(string) {}}, log: slog.New(slog.DiscardHandler), bundles: newBundles(), listenFD: -1, lock: -1}
	_, err = h.succeed(t.Context())
	var refusal *wire.Refusal
	if !errors.As(err, &refusal) || h.listenFD >= 0 || h.lock >= 0 {
		t.Errorf("it took over with %v, socket %d, lock %d", err, h.listenFD, h.lock)
	}
	if err := <-old; err != nil {
		t.Error(err)
	}
}

// refuseTook is a holder that gave its successor up just before that said Took.
func refuseTook(l *net.UnixListener, socket, lock *os.File) error {
	accepted, err := l.AcceptUnix()
	if err != nil {
		return err
	}
	c := wire.NewConn(accepted)
	defer c.Close()
	hear := func(kind wire.Kind) error {
		m, err := c.Receive(time.Now().Add(frameWait))
		if err == nil && m.Kind != kind {
			err = fmt.Errorf("%s came, not %s", m.Kind, kind)
		}
		return err
	}
	if err := hear(wire.Succeed); err != nil {
		return err
	}
	if err := c.Send(wire.Yield, wire.SuccessionReply{Version: 1}, socket, lock); err != nil {
		return err
	}
	if err := c.Send(wire.End, nil); err != nil {
		return err
	}
	if err := hear(wire.Took); err != nil {
		return err
	}
	return c.Send(wire.Refused, &wire.Refusal{Code: wire.CodeInvalid, Text: "took: say succeed first"})
}
