package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// agentHealth serves /healthz at a socket.
func agentHealth(t *testing.T, path string, health http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: health}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

func TestAnAgentIsAliveUnlessItsOwnSocketDoesNotAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	alive := func() (string, int) {
		_, errs, code := runSluice(t, "status", "--alive", "--run-dir", dir)
		return errs, code
	}
	if errs, code := alive(); code != 0 {
		t.Errorf("exit %d where no agent listens yet: %s", code, errs)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "agent.sock.1"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	agentHealth(t, filepath.Join(dir, "agent.sock"), func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok", r.URL.Path) })
	if errs, code := alive(); code != 0 {
		t.Errorf("exit %d with an agent that answers: %s", code, errs)
	}
	agentHealth(t, filepath.Join(dir, "agent.sock.2"), func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the core stands still", http.StatusServiceUnavailable)
	})
	if errs, code := alive(); code != 1 || !strings.Contains(errs, "agent.sock.2") || !strings.Contains(errs, "the core stands still") {
		t.Errorf("exit %d with one that stands by and hangs: %s", code, errs)
	}
	if _, errs, code := runSluice(t, "status", "--alive", "--ready", "--run-dir", dir); code != 2 || !strings.Contains(errs, "exclude") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestAnAgentThatDoesNotAnswerIsItsOwnContainersBusiness(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.sock")
	agentHealth(t, path, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for mine, want := range map[bool]string{true: "does not answer", false: ""} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := aliveAt(ctx, path, func(pid int) bool { return mine && pid == os.Getpid() })
		cancel()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("mine %t: %v", mine, err)
		}
	}
}

func TestAContainersProcessesShareItsMounts(t *testing.T) {
	t.Parallel()
	other := exec.CommandContext(t.Context(), "sleep", "60")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { other.Process.Kill(); other.Wait() }()
	for pid, want := range map[int]bool{os.Getpid(): true, other.Process.Pid: false, 1 << 22: false} {
		if is := inThisContainer(pid); is != want {
			t.Errorf("process %d: %t", pid, is)
		}
	}
}

// The holder's socket is handed on from one to the next: the answer says whose it is.
func TestAProbeTellsWhoseHolderHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := statusOptions{runDir: dir}
	if err := o.probeHolder(t.Context(), func(int) bool { return true }); err == nil {
		t.Error("ready without a holder")
	}
	for _, mine := range []bool{true, false} {
		holderAnswers(t, dir)
		err := o.probeHolder(t.Context(), func(pid int) bool { return mine && pid == 17 })
		if mine != (err == nil) || err != nil && !strings.Contains(err.Error(), "another container holds the pods: process 17") {
			t.Errorf("mine %t: %v", mine, err)
		}
		if err := os.Remove(filepath.Join(dir, "holder.sock")); err != nil {
			t.Fatal(err)
		}
	}
	if _, errs, code := runSluice(t, "status", "--holder", "--run-dir", dir); code != 2 || !strings.Contains(errs, "goes with --ready") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
