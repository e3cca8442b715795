package client

import (
	"cmp"
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

	"github.com/sluice-cni/sluice/agent"
)

// answers has a socket answered as an agent does.
func answers(t *testing.T, path string, health http.HandlerFunc) {
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
	if err := Alive(t.Context(), dir); err != nil {
		t.Errorf("where no agent listens yet: %v", err)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "agent.sock.1"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	answers(t, filepath.Join(dir, "agent.sock"), func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok", r.URL.Path) })
	if err := Alive(t.Context(), dir); err != nil {
		t.Errorf("with an agent that answers: %v", err)
	}
	answers(t, filepath.Join(dir, "agent.sock.2"), func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the core stands still", http.StatusServiceUnavailable)
	})
	if err := Alive(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "agent.sock.2") || !strings.Contains(err.Error(), "the core stands still") {
		t.Errorf("with one that stands by and hangs: %v", err)
	}
}

func TestAnAgentThatDoesNotAnswerIsItsOwnContainersBusiness(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.sock")
	answers(t, path, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
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
		if is := InThisContainer(pid); is != want {
			t.Errorf("process %d: %t", pid, is)
		}
	}
}

func TestAProbeTellsWhoseAgentServes(t *testing.T) {
	t.Parallel()
	serves := agent.Serving{PID: 7, Instance: "new"}
	for _, test := range []struct {
		n    agent.Serving
		pod  string
		want string
	}{
		{serves, "new", ""}, {serves, "", ""},
		{serves, "old", `the agent of another pod serves: process 7, pod "new"`},
		{agent.Serving{Instance: "new", NotReady: "no session with the holder"}, "new", "no session with the holder"},
	} {
		if err := notServing(test.n, test.pod); fmt.Sprint(err) != cmp.Or(test.want, "<nil>") {
			t.Errorf("%+v for pod %q: %v", test.n, test.pod, err)
		}
	}
}
