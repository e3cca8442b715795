package cluster_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules/backend"
)

// Connections that are through the proxy when sluice is uninstalled go on for as long as
// they may drain, while new ones go their own way; then the tables go.
func TestUninstallDrainsToItsLimit(t *testing.T) {
	l := newLoad(t)
	limit := 20 * time.Second
	if *full {
		limit = time.Minute
	}
	l.govern(fmt.Sprintf("agent.drainSeconds=%d", limit/time.Second))
	pod := l.Must("-n", "load", "get", "pods", "-l", "app=callers", "-o", "jsonpath={.items[0].metadata.name}")
	cut := make(chan time.Time, 1)
	go func() {
		out, _ := l.Exec("load", pod, "curl -sSN -o /dev/null http://endless.example/; echo $?")
		if strings.TrimSpace(out) == "0" {
			t.Error("what was cut ended as if it were whole")
		}
		cut <- time.Now()
	}()
	l.Eventually("the pod reads what does not end", func() error {
		if len(l.Internet.Seen("endless.example")) == 0 {
			return fmt.Errorf("nobody asked for it")
		}
		return nil
	})

	gone := make(chan error, 1)
	go func() {
		out, err := l.Helm("uninstall", "sluice", "--namespace", world.Namespace, "--wait", "--timeout", "10m")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		gone <- err
	}()
	l.Eventually("new connections go their own way", func() error {
		_, err := l.Exec("load", pod, "curl -sk -m 5 -o /dev/null https://www.google.com/")
		return err
	})
	ungoverned := time.Now()
	l.streamsGoOn("when new connections go their own way")
	if n := l.tables(); n != l.pods {
		t.Errorf("%d of %d pods have the tables by which their connections drain", n, l.pods)
	}
	l.streamsEnd() // the latter are within the limit
	select {
	case at := <-cut:
		t.Errorf("the connection that does not end was cut after %v of %v", at.Sub(ungoverned), limit)
	case err := <-gone:
		t.Fatalf("sluice is gone before its last connection: %v", err)
	default:
	}
	// The agent may have begun to count before this test saw it.
	const early = 10 * time.Second
	if at := <-cut; at.Sub(ungoverned) < limit-early || at.Sub(ungoverned) > limit+patience {
		t.Errorf("the connection that does not end was cut after %v of %v", at.Sub(ungoverned), limit)
	} else {
		t.Logf("cut after %v of %v", at.Sub(ungoverned), limit)
	}
	if err := <-gone; err != nil {
		t.Fatalf("%v\n%s", err, l.Describe(world.Namespace))
	}
	l.more()
	l.allSucceeded("uninstalled")
	l.nothingIsLeft()
}

// tables is how many of the callers have rules of ours, of whichever kind.
func (l *underLoad) tables() (n int) {
	l.t.Helper()
	for _, p := range l.Pods("load") {
		ns, err := lab.Open(p.Netns)
		if err != nil {
			l.t.Fatal(err)
		}
		there, err := backend.Installed(ns.FD())
		ns.Close()
		if err != nil {
			l.t.Fatal(err)
		}
		if len(there) > 0 {
			n++
		}
	}
	return n
}

// nothingIsLeft holds what is there after uninstalling: the plugin that passes everything
// through, and what users have made.
func (l *underLoad) nothingIsLeft() {
	l.t.Helper()
	if _, err := l.Exec("load", "deployment/callers", "curl -sk -m 5 -o /dev/null https://www.google.com/"); err != nil {
		l.t.Errorf("a pod is governed: %v", err)
	}
	if n := l.tables(); n != 0 {
		l.t.Errorf("%d pods have tables", n)
	}
	onlyThePluginStays(l.t, l.World)
	entries := files(l.t, world.ConfDir, func(path string) bool {
		text, err := os.ReadFile(path)
		return err != nil || strings.Contains(string(text), "sluice")
	})
	if len(entries) != 0 {
		l.t.Errorf("sluice is in %q", entries)
	}
	for _, kind := range []string{"daemonsets", "jobs", "clusterroles", "clusterrolebindings", "validatingadmissionpolicies"} {
		for name := range strings.FieldsSeq(l.Must("get", kind, "-A", "-o", "name")) {
			if strings.Contains(name, "sluice") {
				l.t.Errorf("left is %s", name)
			}
		}
	}
	if out := l.Must("get", "serviceentries", "-n", "load", "-o", "name"); !strings.Contains(out, "called") {
		l.t.Errorf("users' resources are gone: %q", out)
	}
}

// onlyThePluginStays of all that was written on the node.
func onlyThePluginStays(t *testing.T, w *world.World) {
	t.Helper()
	w.Eventually("no file is left but the plugin's", func() error {
		var left []string
		for _, dir := range []string{"/run/sluice", "/var/lib/sluice", world.BinDir} {
			left = append(left, files(t, dir, func(path string) bool { return dir != world.BinDir || strings.Contains(path, "sluice") })...)
		}
		if want := filepath.Join(world.BinDir, "sluice-cni"); len(left) != 1 || left[0] != want {
			return fmt.Errorf("left are %q; want %s alone", left, want)
		}
		return nil
	})
}

// files are those below a folder that are meant, of whatever kind; folders are none.
func files(t *testing.T, dir string, meant func(path string) bool) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if meant(path) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return found
}
