package sluicetest_test

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestASecondHolderTakesOverFromTheFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ns := labtest.New(t)
	start := func(args ...string) *proxy {
		p := &proxy{Namespace: ns, ended: make(chan struct{})}
		p.launch(t, exec.Command(sluicetest.File(), append([]string{"holder", "--run-dir", dir}, args...)...))
		p.waitFor(t, "msg=ready")
		return p
	}
	staying := start("--stay")
	second := start()
	staying.waitFor(t, "this one ends")
	third := start()
	ended(t, second, 0)
	if s, err := client.Status(t.Context(), filepath.Join(dir, holder.SocketName)); err != nil || s.PID != third.cmd.Process.Pid {
		t.Errorf("holder %d answers, want %d (%v)", s.PID, third.cmd.Process.Pid, err)
	}
	select {
	case <-staying.ended:
		t.Error("the first ended, and was to stay")
	default:
	}
	for _, p := range []*proxy{staying, third} {
		p.cmd.Process.Signal(syscall.SIGTERM)
		ended(t, p, 0)
	}
}

// ended waits for the end, and wants the exit code.
func ended(t *testing.T, p *proxy, code int) {
	t.Helper()
	select {
	case <-p.ended:
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("exit code %d, want %d", got, code)
		}
	case <-time.After(await.Patience):
		t.Fatal("does not end")
	}
}
