package holder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/sockets"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/internal/lab"
)

// holderProcess as first argument makes the test binary a holder.
const holderProcess = "run-holder"

// runProcess is `sluice holder` with a death that can be chosen: at the n-th thing it
// does, it kills itself.
func runProcess(args []string) int {
	dieAt, _ := strconv.Atoi(args[1])
	limit, _ := time.ParseDuration(args[2])
	done := 0
	o := Options{RunDir: args[0], WaitLimit: limit, Build: "test", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), look: time.Second,
		Name: args[3], Stay: args[4] == "stay"}
	o.before = func(what string) {
		if done++; done == dieAt {
			fmt.Fprintf(os.Stderr, "dies before %s\n", what)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop() // the test is gone
	}()
	if err := Run(ctx, o); err != nil && !errors.Is(err, ErrSucceeded) {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// process is a holder in a process of its own, which ends with the test.
type process struct {
	cmd    *exec.Cmd
	log    *heard.Text
	exited chan struct{}
}

func startProcess(t testing.TB, dir string, dieAt int) *process {
	t.Helper()
	return startWith(t, dir, dieAt, 30*time.Second)
}

func startWith(t testing.TB, dir string, dieAt int, limit time.Duration) *process {
	t.Helper()
	return startNamed(t, dir, dieAt, limit, "", "")
}

// startNamed is startWith in a pod of a name, with stay "stay" or "".
func startNamed(t testing.TB, dir string, dieAt int, limit time.Duration, name, stay string) *process {
	t.Helper()
	p := &process{log: new(heard.Text), exited: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe", holderProcess, dir, strconv.Itoa(dieAt), limit.String(), name, stay)
	p.cmd.Stderr = p.log
	alive, err := p.cmd.StdinPipe() // ends with this process
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		alive.Close()
		p.kill()
		if t.Failed() {
			t.Logf("holder %d:\n%s", p.cmd.Process.Pid, p.log)
		}
	})
	return p
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// ready waits until the process serves at the socket, or has ended.
func (p *process) ready(t testing.TB) {
	t.Helper()
	p.says(t, "msg=ready", 1)
}

// says waits until the process has logged something so many times, or has ended.
func (p *process) says(t testing.TB, what string, times int) {
	t.Helper()
	await.True(t, "holder says "+what, func() bool {
		select {
		case <-p.exited:
			return true
		default:
			return strings.Count(p.log.String(), what) >= times
		}
	})
}

// descriptors counts those of a kind, as "net:[" for namespaces; "" is all.
func (p *process) descriptors(t testing.TB, kind string) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(target, kind) {
			n++
		}
	}
	return n
}

// startHere is a holder in this process; its log comes with the test's failure.
func startHere(t testing.TB, o Options) (path string, log *heard.Text) {
	t.Helper()
	log = new(heard.Text)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	if o.RunDir == "" {
		o.RunDir = t.TempDir()
	}
	o.Build = "test"
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, ErrSucceeded) {
			t.Errorf("the holder ended with %v", err)
		}
		if t.Failed() {
			t.Logf("holder:\n%s", log)
		}
	})
	await.True(t, "the holder is ready", func() bool { return strings.Contains(log.String(), "msg=ready") })
	return filepath.Join(o.RunDir, SocketName), log
}

// pod is a namespace with its sockets, as the plugin makes them.
type pod struct {
	ns *lab.Namespace
	wire.Holding
	files []*os.File // the sockets, then the namespace
}

var pods struct {
	mu   sync.Mutex
	last int
}

// newPod makes a namespace at a path, with its sockets open and held by nobody yet.
func newPod(t testing.TB) *pod {
	t.Helper()
	pods.mu.Lock()
	pods.last++
	name := fmt.Sprintf("pod-%d", pods.last)
	pods.mu.Unlock()
	ns, err := lab.NewAt(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	p := &pod{ns: ns}
	t.Cleanup(p.close)
	p.Attachment = wire.Attachment{ContainerID: name, Interface: "eth0", Path: ns.Path()}
	p.Holding.Pod = wire.PodName{Namespace: "shop", Name: name}
	p.Policy = wire.PolicyBlock
	err = p.ns.Do(func() error {
		described, files, err := sockets.Open(sockets.Wanted{DNS: true})
		p.Sockets, p.files = described, files
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	p.files = append(p.files, f)
	if p.Netns, err = identityAt(p.Path); err != nil {
		t.Fatal(err)
	}
	return p
}

// close closes this process's copies.
func (p *pod) close() {
	sockets.Close(p.files)
	p.files = nil
}

func (p *pod) hold(t testing.TB, path string) wire.HeldReply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	reply, err := client.Hold(ctx, path, p.Holding, p.files)
	if err != nil {
		t.Fatalf("hold: %v", err)
	}
	return reply
}

func (p *pod) release(t testing.TB, path string) {
	t.Helper()
	await.True(t, "it is released", func() bool { // nobody is there: who asks tries again
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		defer cancel()
		return client.Release(ctx, path, p.ContainerID, p.Interface) == nil
	})
}

// port is the proxy's.
func (p *pod) port() int { return int(p.Sockets[0].Port) }

// connect connects to the pod's listener, from inside.
func (p *pod) connect(network string) (net.Conn, error) {
	host := map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1"}[network]
	var c net.Conn
	err := p.ns.Do(func() (err error) {
		c, err = net.DialTimeout(network, net.JoinHostPort(host, strconv.Itoa(p.port())), 5*time.Second)
		return err
	})
	return c, err
}

// unpin takes the path away, as runtimes do when the pod is gone.
func (p *pod) unpin(t testing.TB) {
	t.Helper()
	if err := unix.Unmount(p.Path, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.Path); err != nil {
		t.Fatal(err)
	}
}

func status(t testing.TB, path string) wire.HolderStatus {
	t.Helper()
	var s wire.HolderStatus
	await.True(t, "the holder says how it is", func() (said bool) {
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		defer cancel()
		var err error
		s, err = client.Status(ctx, path)
		return err == nil
	})
	return s
}

// reset says whether the connection's end was a reset.
func reset(c net.Conn) error {
	c.SetDeadline(time.Now().Add(await.Patience))
	_, err := c.Read(make([]byte, 1))
	switch {
	case errors.Is(err, unix.ECONNRESET):
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("ended, not reset")
	}
	return fmt.Errorf("not reset: %v", err)
}
