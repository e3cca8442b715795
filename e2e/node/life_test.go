package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/plugin/cnitest"
	"github.com/sluice-cni/sluice/rules/nft"
)

// A node's life with a real runtime: sluice comes to pods that run already, the runtime
// dies and comes back, and sluice goes again under pods that run. No pod is restarted,
// and its end is as if there had never been anything.
func TestANodesLifeWithARuntime(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		i := installed(t, r)
		n := i.n
		early := i.pod(t, "early")
		if got := i.stranger(t, early); !strings.HasPrefix(got, "200 ") {
			t.Errorf("before sluice: %q", got)
		}
		n.CRI = i.c.Socket
		n.StartHolder()
		n.StartAgent()
		before := baseline(t, n)
		entry := map[string]any{"type": "sluice-cni"}
		for k, v := range n.Entry {
			entry[k] = v
		}
		content, err := json.Marshal(entry)
		must(t, err)
		must(t, os.WriteFile(i.entry, content, 0o600))
		began := time.Now()
		i.sluice(t, 0, "install", "--conf-dir", i.c.ConfDir, "--bin-dir", i.c.PluginDir,
			"--binary", filepath.Join(cnitest.Folder(), "sluice-cni"), "--cri", i.c.Socket, "--entry", i.entry)
		figure(t, "containerd %s: installed after", time.Since(began), r.Version)
		await.True(t, "the pod that ran already is governed", func() bool { return strings.HasPrefix(i.stranger(t, early), "502 ") })

		first := i.pod(t, "first")
		i.c.Kill()
		i.c.Run()
		i.c.NetworkReady()
		second := i.pod(t, "second")
		for _, p := range []sandbox{early, first, second} {
			if got := i.stranger(t, p); !strings.HasPrefix(got, "502 ") {
				t.Errorf("pod %s, after the runtime was killed and came back: %q, want the proxy's 502", p.pod.Spec.Name, got)
			}
		}

		began = time.Now()
		i.sluice(t, 0, "uninstall", "--conf-dir", i.c.ConfDir, "--bin-dir", i.c.PluginDir, "--cri", i.c.Socket,
			"--agent", filepath.Join(n.RunDir, "agent.sock"), "--policy-file", filepath.Join(n.StateDir, "policy.json"))
		figure(t, "containerd %s: uninstalled, with 3 pods running, after", time.Since(began), r.Version)
		late := i.pod(t, "late")
		for _, p := range []sandbox{early, first, second, late} {
			if got := i.stranger(t, p); !strings.HasPrefix(got, "200 ") {
				t.Errorf("pod %s, after uninstall: %q", p.pod.Spec.Name, got)
			}
		}
		for _, path := range namespaces(t) {
			ns, err := lab.Open(path)
			must(t, err)
			if _, found, err := nft.Read(ns.FD()); err != nil || found {
				t.Errorf("%s has rules after uninstall (%v)", path, err)
			}
			must(t, ns.Close())
		}
		for _, p := range i.pods {
			must(t, p.pod.Remove())
		}
		if left := namespaces(t); len(left) != 0 {
			t.Errorf("namespaces left: %v", left)
		}
		if left, _ := filepath.Glob(filepath.Join(addressesInUse, "podnet", "10.*")); len(left) != 0 {
			t.Errorf("addresses left: %v", left)
		}
		n.GivenBack(before)
	})
}

// stranger asks for a name that nobody registers, at a captured address.
func (i *installation) stranger(t *testing.T, p sandbox) string {
	t.Helper()
	o, err := p.pod.Run(p.container, "incontainer", "get", "http://"+stage.Web+"/", "other.example")
	must(t, err)
	return o.Out + o.Err
}
