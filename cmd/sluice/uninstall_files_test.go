package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/install"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/admin"
)

// left is a node on which files were left, and what must be told apart.
func left(t *testing.T) leftovers {
	t.Helper()
	dir := t.TempDir()
	l := leftovers{runDir: filepath.Join(dir, "run"), stateDir: filepath.Join(dir, "state")}
	l.lease = filepath.Join(l.runDir, "installer")
	for _, path := range []string{
		filepath.Join(l.runDir, "holder.lock"), filepath.Join(l.runDir, "pods", "1-2.json"), l.lease,
		filepath.Join(l.runDir, "credentials", "shop", "key.json"),
		filepath.Join(l.stateDir, "policy.json"), filepath.Join(l.stateDir, "agent", "cluster", "services.journal"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// listen has a socket in the run directory; one that is dead where nobody is to answer.
func (l leftovers) listen(t *testing.T, name string, dead bool) {
	t.Helper()
	s, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(l.runDir, name), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if s.SetUnlinkOnClose(false); dead {
		s.Close()
		return
	}
	t.Cleanup(func() { s.Close() })
}

// there are the files below both folders.
func (l leftovers) there(t *testing.T) (names []string) {
	t.Helper()
	for _, dir := range []string{l.runDir, l.stateDir} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				names = append(names, filepath.Base(path))
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return names
}

func TestWhatANodesProcessesHaveWrittenIsRemoved(t *testing.T) {
	t.Parallel()
	l := left(t)
	l.listen(t, "agent.sock", true)
	if err := l.remove(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{l.runDir, l.stateDir} {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v; it has %q", dir, err, l.there(t))
		}
	}
	if err := l.remove(); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestAProxyThatRunsByItselfKeepsItsSocket(t *testing.T) {
	t.Parallel()
	l := left(t)
	l.listen(t, "proxy-7.sock", false)
	if err := l.remove(); err != nil {
		t.Fatal(err)
	}
	if names := l.there(t); !slices.Equal(names, []string{"proxy-7.sock"}) {
		t.Errorf("left are %q", names)
	}
}

func TestWhatIsInUseIsNotRemoved(t *testing.T) {
	t.Parallel()
	for who, start := range map[string]func(*testing.T, leftovers){
		"agent": func(t *testing.T, l leftovers) { l.listen(t, "agent.sock.7", false) },
		"holder": func(t *testing.T, l leftovers) {
			ctx, end := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- holder.Run(ctx, holder.Options{RunDir: l.runDir, Log: slog.New(slog.DiscardHandler)})
			}()
			t.Cleanup(func() { end(); <-ended })
			await.True(t, "a holder has its files", func() bool {
				_, err := os.Stat(filepath.Join(l.runDir, "agents.json"))
				return err == nil && admin.Answers(filepath.Join(l.runDir, holder.SocketName))
			})
		},
		"installer": func(t *testing.T, l leftovers) {
			conf := t.TempDir()
			i, err := install.Leaver(install.Options{ConfDir: conf, Entry: install.NodeEntry(), Mode: install.Auto, Log: slog.New(slog.DiscardHandler), Lease: l.lease, Name: "one"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); i.Watch(ctx, nil, nil) }()
			t.Cleanup(func() { end(); <-ended })
			await.True(t, "an installer runs", func() bool { there, err := install.Watched(l.lease); return there && err == nil })
		},
	} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			l := left(t)
			start(t, l)
			before := l.there(t)
			if err := l.remove(); !errors.Is(err, errInUse) {
				t.Errorf("%v", err)
			}
			if after := l.there(t); !slices.Equal(before, after) {
				t.Errorf("%q became %q", before, after)
			}
		})
	}
}
