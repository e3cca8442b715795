package install

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

// What a probe says, beside installers that watch.
func TestAProbeIsToldWhetherPodsAreCaptured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		runtime := containerd{dir: n.dir, version: "v2.1.4"}
		var program error
		probe := func(name string) error {
			return installer(t, Options{ConfDir: n.dir, Mode: DropIn, Log: slog.New(slog.DiscardHandler), Lease: n.lease, Name: name, Runtime: runtime,
				Program: func(context.Context) error { return program }}).Check(t.Context())
		}
		says := func(when, name, part string) {
			t.Helper()
			if err := probe(name); (part == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q", when, err, part)
			}
		}
		says("before anybody", "first", "has not begun")
		first := n.keep(t, "first")
		says("in place", "first", "")
		says("of a pod that did not begin", "second", "has not begun")
		program = errors.New("no plugin")
		says("without the plugin", "first", "no plugin")
		program = nil
		runtime.deaf = true
		says("of a runtime that reads elsewhere", "first", "the runtime does not use it")
		runtime.deaf = false
		entry := filepath.Join(n.dir, "podnet", dropInName)
		if err := os.Remove(entry); err != nil {
			t.Fatal(err)
		}
		says("without the entry", "first", "podnet/50-sluice.conf")
		n.keep(t, "second")
		if err := os.Remove(entry); err != nil {
			t.Fatal(err)
		}
		says("with a newer one in charge", "first", "")
		says("who is in charge", "second", "podnet/50-sluice.conf")
		first.stop()
		left := installer(t, Options{ConfDir: n.dir, Log: slog.New(slog.DiscardHandler), Lease: n.lease})
		if err := left.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		says("after an uninstall", "second", "was taken out of this node")
	})
}

func TestAProbeLooksAtThePlugin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("plugin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Installed(source, dir); err == nil || !strings.Contains(err.Error(), "is missing, or another") {
		t.Errorf("without one: %v", err)
	}
	if err := Brought(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without one that others bring: %v", err)
	}
	if err := os.Link(source, filepath.Join(dir, pluginType)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Installed(source, dir), Brought(dir)); err != nil {
		t.Error(err)
	}
}
