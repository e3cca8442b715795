package install

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// keeper is a watching installer of a node.
type keeper struct {
	changed chan struct{}
	stop    func()
}

// node is a conf dir, a binary and a lease that several keepers share.
type node struct {
	dir, lease, binary string
}

func (n *node) keep(t *testing.T, name string) *keeper { return n.keepWith(t, name, nil) }

func (n *node) keepWith(t *testing.T, name string, runtime Runtime) *keeper {
	k := &keeper{changed: make(chan struct{}, 1)}
	i := installer(t, Options{ConfDir: n.dir, Mode: DropIn, Log: slog.New(slog.DiscardHandler), Lease: n.lease, Name: name, Runtime: runtime,
		Program: func(context.Context) error { n.binary = name; return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.Watch(ctx, k.changed, nil)
	}()
	ended := false
	k.stop = func() {
		if !ended {
			ended = true
			cancel()
			<-done
		}
	}
	t.Cleanup(k.stop)
	synctest.Wait()
	return k
}

// look has it look now.
func (k *keeper) look() {
	k.changed <- struct{}{}
	synctest.Wait()
	<-time.After(2 * settle) // of the bubble's clock
	synctest.Wait()
}

func (n *node) wants(t *testing.T, who string, entry bool) {
	t.Helper()
	names, err := used(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	if in := slices.Contains(names, "sluice-cni"); n.binary != who || in != entry {
		t.Errorf("the binary is %q's, want %q; entry %v, want %v", n.binary, who, in, entry)
	}
}

func newNode(t *testing.T) *node {
	return &node{dir: confDir(t, map[string]string{"10-a.conflist": conflist}), lease: filepath.Join(t.TempDir(), "run", "installer")}
}

func (n *node) leave(t *testing.T) {
	t.Helper()
	i, err := Leaver(Options{ConfDir: n.dir, Entry: json.RawMessage(entry), Log: slog.New(slog.DiscardHandler), Lease: n.lease})
	if err == nil {
		err = i.Leave(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	n.binary = ""
}

func TestTheNewestInstallerKeepsEntryAndBinary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		old := n.keep(t, "old")
		n.wants(t, "old", true)
		young := n.keep(t, "young")
		n.wants(t, "young", true)
		old.look() // the older one does not fight for it
		n.wants(t, "young", true)
		old.stop()
		old = n.keep(t, "old") // started again in its old pod
		n.wants(t, "young", true)
		young.stop() // and its pod is deleted: the upgrade is taken back
		old.look()
		n.wants(t, "old", true)
	})
}

func TestWhoWasThereAtLeavingKeepsHandsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		k := n.keep(t, "pod")
		n.wants(t, "pod", true)
		n.leave(t)
		k.look()
		n.wants(t, "", false)
		k.stop()
		k = n.keep(t, "pod") // the kubelet starts it again
		n.wants(t, "", false)
		n.keep(t, "another") // of the next release
		n.wants(t, "another", true)
		k.look()
		n.wants(t, "another", true)
	})
}

// What an agent asks before it takes pods for captured.
func TestTheLeaseSaysThatPluginAndEntryAreInPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &node{dir: t.TempDir(), lease: filepath.Join(t.TempDir(), "installer")}
		wants := func(want string) {
			t.Helper()
			if err := InPlace(n.lease); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %q", err, want)
			}
		}
		wants("has not begun")
		k := n.keep(t, "pod")
		wants("no installer") // the node has no network yet
		write(t, filepath.Join(n.dir, "10-a.conflist"), conflist)
		k.look()
		wants("")
		n.leave(t)
		k.look()
		wants("no installer")
		deaf := n.keepWith(t, "deaf", containerd{dir: n.dir, version: "v2.1.0", deaf: true})
		time.Sleep(time.Minute)
		wants("no installer") // whose runtime reads another directory
		deaf.stop()
		n.keep(t, "another").look()
		n.keep(t, "a third").look()
		wants("")
		if text, err := os.ReadFile(n.lease); err != nil || strings.Count(string(text), installedLine) != 2 {
			t.Errorf("%s%v", text, err)
		}
	})
}

func TestALeaseThatIsRemovedIsMadeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		k := n.keep(t, "pod")
		if err := os.RemoveAll(filepath.Dir(n.lease)); err != nil {
			t.Fatal(err)
		}
		k.look()
		young := n.keep(t, "young")
		n.wants(t, "young", true)
		k.look()
		n.wants(t, "young", true)
		young.stop()
	})
}

func TestLeavingWhereNobodyInstalledMakesNoLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.leave(t)
		if _, err := os.Stat(n.lease); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the lease is there: %v", err)
		}
	})
}

// Whoever leaves waits for one that is at work, and says so when it takes too long.
func TestLeavingWaitsForTheInstallerAtWork(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	at, err := openLease(n.lease, "pod")
	if err != nil {
		t.Fatal(err)
	}
	defer at.close()
	i, err := Leaver(Options{ConfDir: n.dir, Entry: json.RawMessage(entry), Log: slog.New(slog.DiscardHandler), Lease: n.lease})
	if err != nil {
		t.Fatal(err)
	}
	err = at.pass(t.Context(), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*gateEvery)
		defer cancel()
		return i.tellLeaving(ctx)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("leaving while another is at work: %v", err)
	}
	if err := i.tellLeaving(t.Context()); err != nil {
		t.Error(err)
	}
}
