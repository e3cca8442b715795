package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/agent/cri"
	"github.com/sluice-cni/sluice/e2e/node/cgroups"
	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// The installer with a real runtime, and with pods for which nothing but the plugin
// works: what a captured pod cannot reach shows that it is captured.
func TestInstallKeepAndUninstall(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		i := installed(t, r)
		before := i.pod(t, "before")
		i.governed(t, before, false)

		watch := i.watch(t)
		first := i.pod(t, "first")
		i.governed(t, first, true)
		i.governed(t, before, false)

		// The primary writes its list anew, a hundred times.
		for n := range 100 {
			writeList(t, i.c.ConfDir, r, nil)
			if n%20 == 0 {
				await.True(t, "the entry is used again", func() bool { return i.used(t) })
			}
		}
		await.True(t, "the entry is used", func() bool { return i.used(t) })
		second := i.pod(t, "second")
		i.governed(t, second, true)
		if dropIns := strings.HasPrefix(r.Version, "2."); dropIns && strings.Contains(watch.log(), "restored") {
			t.Errorf("a list written anew took a file beside it along:\n%s", watch.log())
		}

		// The runtime starts anew, with the watcher gone.
		watch.end(t)
		i.c.Kill()
		i.c.Run()
		i.c.NetworkReady()
		third := i.pod(t, "third")
		i.governed(t, third, true)

		i.sluice(t, 0, "uninstall", "--conf-dir", i.c.ConfDir, "--bin-dir", i.c.PluginDir, "--cri", i.c.Socket, "--agent", "off", "--policy-file", filepath.Join(i.n.StateDir, "policy.json"))
		if i.used(t) {
			t.Error("the runtime uses the entry after uninstall")
		}
		after := i.pod(t, "after")
		i.governed(t, after, false)
		i.governed(t, first, true) // its rules are nobody's business but cleanup's

		out := i.sluice(t, 0, "cleanup", "--standalone", "--agent", filepath.Join(i.n.RunDir, "agent.sock"))
		if n := strings.Count(out, "\n"); n != 3+1 { // and the last line says how many
			t.Errorf("cleaned, want three namespaces:\n%s", out)
		}
		for _, p := range i.pods {
			i.governed(t, p, false)
			must(t, p.pod.Remove())
		}
		if left := namespaces(t); len(left) != 0 {
			t.Errorf("namespaces left: %v", left)
		}
		if left, _ := filepath.Glob(filepath.Join(addressesInUse, "podnet", "10.*")); len(left) != 0 {
			t.Errorf("addresses left: %v", left)
		}
	})
}

type installation struct {
	n       *stage.Node
	c       *containerd.Containerd
	entry   string
	pods    []sandbox
	runtime *cri.Client
}

type sandbox struct {
	pod       *containerd.Pod
	container string
}

// installed is a node whose runtime knows nothing of sluice yet.
func installed(t *testing.T, r programs.Runtime) *installation {
	t.Helper()
	n := stage.New(t, stage.Options{})
	confs, plugins := t.TempDir(), t.TempDir()
	writeList(t, confs, r, nil)
	all, err := filepath.Glob(filepath.Join(cnitest.Folder(), "*"))
	must(t, err)
	for _, path := range all {
		if filepath.Base(path) != "sluice-cni" {
			must(t, os.Symlink(path, filepath.Join(plugins, filepath.Base(path))))
		}
	}
	c := containerd.Start(t, r, plugins, confs, cgroups.Parent())
	c.NetworkReady()
	i := &installation{n: n, c: c, entry: filepath.Join(t.TempDir(), "entry.json"), runtime: cri.New(c.Socket)}
	t.Cleanup(i.runtime.Close)
	entry, err := json.Marshal(map[string]any{"type": "sluice-cni", "includeIPRanges": stage.Captured,
		"capabilities": map[string]bool{"io.kubernetes.cri.pod-annotations": true}})
	must(t, err)
	must(t, os.WriteFile(i.entry, entry, 0o600))
	return i
}

func (i *installation) pod(t *testing.T, name string) sandbox {
	t.Helper()
	p := i.c.Pod(containerd.PodSpec{Name: name})
	app, err := p.Container("app", containerd.Capabilities{})
	must(t, err)
	i.pods = append(i.pods, sandbox{p, app})
	return i.pods[len(i.pods)-1]
}

// governed requires that a pod's captured traffic is held back, or goes its own way.
func (i *installation) governed(t *testing.T, p sandbox, is bool) {
	t.Helper()
	o, err := p.pod.Run(p.container, "incontainer", "get", "http://"+stage.Web+"/", stage.WebName)
	must(t, err)
	if refused := strings.Contains(o.Err, "refused"); refused != is {
		t.Errorf("pod %s: %+v; governed must be %v", p.pod.Spec.Name, o, is)
	}
}

func (i *installation) used(t *testing.T) bool {
	t.Helper()
	conf, err := i.runtime.NetworkConfig(t.Context())
	must(t, err)
	return bytes.Contains(conf, []byte("sluice-cni"))
}

func (i *installation) sluice(t *testing.T, code int, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), programs.Sluice(), args...)
	out, _ := c.CombinedOutput()
	if c.ProcessState.ExitCode() != code {
		t.Fatalf("sluice %q: exit code %d:\n%s", args, c.ProcessState.ExitCode(), out)
	}
	return string(out)
}

// watching is a running `sluice install --watch`.
type watching struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
}

func (w *watching) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func (w *watching) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

func (i *installation) watch(t *testing.T) *watching {
	t.Helper()
	w := &watching{}
	w.cmd = exec.Command(programs.Sluice(), "install", "--watch", "--conf-dir", i.c.ConfDir, "--bin-dir", i.c.PluginDir,
		"--binary", filepath.Join(cnitest.Folder(), "sluice-cni"), "--cri", i.c.Socket, "--entry", i.entry, "--lease", "off")
	w.cmd.Stdout, w.cmd.Stderr = w, w
	must(t, w.cmd.Start())
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		w.cmd.Wait()
		if t.Failed() {
			t.Logf("sluice install --watch:\n%s", w.log())
		}
	})
	await.True(t, "sluice install --watch has installed", func() bool { return strings.Contains(w.log(), "msg=installed") })
	return w
}

// end stops it as a supervisor does, which must leave everything in place.
func (w *watching) end(t *testing.T) {
	t.Helper()
	must(t, w.cmd.Process.Signal(os.Interrupt))
	if err := w.cmd.Wait(); err != nil {
		t.Fatal(fmt.Errorf("sluice install --watch, told to end: %w", err))
	}
}
