package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
)

// The stage itself: with no agent at all a sandbox's captured traffic is held back,
// and governed once a proxy serves it.
func TestASandboxIsGovernedWithoutAnAgent(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		n := stage.New(t, stage.Options{})
		n.Entry = map[string]any{"includeIPRanges": stage.Captured, "exemption": "mark", "exemptMark": "0x51"}
		c := runtimeOf(t, n, r)
		p := c.Pod(containerd.PodSpec{Name: "a"})
		app, err := p.Container("app", containerd.Capabilities{})
		must(t, err)

		get := func(args ...string) containerd.Output {
			t.Helper()
			o, err := p.Run(app, "incontainer", append([]string{"get"}, args...)...)
			must(t, err)
			return o
		}
		if o := get("http://" + stage.Free + "/"); o.Out != "200 "+stage.Free+"\n" {
			t.Errorf("what is not captured: %+v", o)
		}
		if o := get("http://" + stage.Web + "/"); o.Code == 0 || !strings.Contains(o.Err, "refused") {
			t.Errorf("captured, and no proxy: %+v; want it refused", o)
		}
		startProxy(t, n, onlyNamespace(t))
		if o := get("http://"+stage.Web+"/", stage.WebName); o.Out != "200 "+stage.WebName+"\n" {
			t.Errorf("captured and registered: %+v", o)
		}
		if o := get("http://"+stage.Web+"/", "other.example"); !strings.HasPrefix(o.Out, "502 ") {
			t.Errorf("captured and not registered: %+v; want the proxy's 502", o)
		}
		must(t, p.Remove())
		if left := namespaces(t); len(left) != 0 {
			t.Errorf("namespaces left: %v", left)
		}
	})
}

// namespaces are those that the runtime has named.
func namespaces(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/run/netns/*")
	must(t, err)
	return all
}

func onlyNamespace(t *testing.T) *lab.Namespace {
	t.Helper()
	all := namespaces(t)
	if len(all) != 1 {
		t.Fatalf("network namespaces %v, want one", all)
	}
	ns, err := lab.Open(all[0])
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

// startProxy runs `sluice proxy` in a namespace until the test ends, and returns when
// it listens.
func startProxy(t *testing.T, n *stage.Node, in *lab.Namespace) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "proxy.log"))
	must(t, err)
	defer log.Close()
	cmd := exec.Command(programs.Sluice(), "proxy", "--config", n.ConfigDir, "--mark", "0x51", "--admin", "off", "--resolv-conf", "/dev/null")
	cmd.Stdout, cmd.Stderr = log, log
	must(t, in.Start(cmd))
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the proxy's log:\n%s", text)
		}
	})
	await.True(t, "the proxy is ready", func() bool {
		c, err := in.Dial(t.Context(), "tcp", "127.0.0.1:15001")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
