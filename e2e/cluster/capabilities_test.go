package cluster_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/granted"
	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/tiers"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/rules"
)

// workload is as much of a DaemonSet as has capabilities.
type workload struct {
	Spec struct {
		Template struct {
			Spec struct{ InitContainers, Containers []container }
		}
	}
}

type container struct {
	Name            string
	SecurityContext struct {
		Capabilities struct{ Add []string }
	}
}

// denied is how a kernel's refusal is worded.
var denied = regexp.MustCompile(`(?i)[^\n]*(operation not permitted|permission denied|` + regexp.QuoteMeta(rules.ErrNotPermitted.Error()) + `)[^\n]*`)

// Each capability of granted.Proven is needed: without it the kernel refuses something, on
// a node whose network configuration is not root's, and the container says so. Without
// -full only one of each container is taken away.
func TestEachCapabilityIsNeeded(t *testing.T) {
	w := world.New(t, world.Options{})
	tiers.Act(w.Internet)
	// As on nodes where a network plugin of another user's writes it.
	const other = 1000
	list := filepath.Join(world.ConfDir, "10-podnet.conflist")
	for path, mode := range map[string]os.FileMode{world.ConfDir: 0o700, list: 0o600} {
		if err := os.Chown(path, other, other); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	untouched, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	w.Install("cni.mode=append", "agent.drainSeconds=5")
	w.Must("create", "namespace", "exercise")
	if _, err := w.KubectlIn(suite.Sleep(world.App), "-n", "exercise", "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.Rollout("exercise", "deployment/sleep")

	for _, set := range []string{"sluice-agent", "sluice-holder"} {
		all := capabilities(t, w.Must("-n", world.Namespace, "get", "daemonset", set, "-o", "json"))
		for _, c := range all.Spec.Template.Spec.Containers {
			each(t, c, func(t *testing.T, patch string) {
				before := newest(w, set)
				w.Must("-n", world.Namespace, "patch", "daemonset", set, "-p", patch)
				defer func() {
					w.Must("-n", world.Namespace, "rollout", "undo", "daemonset/"+set)
					w.Rollout(world.Namespace, "daemonset/"+set)
				}()
				await.True(t, "there is a new pod", func() bool { return newest(w, set) != before })
				misses(t, w, newest(w, set), c.Name, func() { exercise(t, w, list, untouched) })
			})
		}
	}
	// The uninstaller, where no agent lets pods go.
	uninstaller := w.Kustomization("uninstall", "")
	all := capabilities(t, w.Must("create", "--dry-run=client", "-o", "json", "-k", uninstaller))
	for _, c := range all.Spec.Template.Spec.InitContainers {
		each(t, c, func(t *testing.T, patch string) {
			w.Must("label", "namespace", "exercise", "sluice.dev/inject=true", "--overwrite")
			w.Must("-n", "exercise", "delete", "pod", "-l", "app=sleep")
			w.Rollout("exercise", "deployment/sleep")
			nowhere := func(selector string) {
				w.Must("-n", world.Namespace, "patch", "daemonset", "sluice-agent", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":`+selector+`}}}}}`)
			}
			nowhere(`"true"`)
			await.True(t, "the agents are gone", func() bool { return newest(w, "sluice-agent") == "" })
			w.Must("apply", "-k", w.Kustomization("uninstall", "patches:\n- patch: '"+strings.Replace(patch, `{"spec"`, `{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"sluice-uninstall","namespace":"sluice-system"},"spec"`, 1)+"'\n"))
			defer func() {
				w.Must("delete", "-k", uninstaller)
				nowhere("null")
				w.Rollout(world.Namespace, "daemonset/sluice-agent")
			}()
			await.True(t, "there is a pod", func() bool { return newest(w, "sluice-uninstall") != "" })
			misses(t, w, newest(w, "sluice-uninstall"), c.Name, func() {})
		})
	}
}

func capabilities(t *testing.T, manifest string) (all workload) {
	t.Helper()
	if err := json.Unmarshal([]byte(manifest), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// each runs a test for each capability that a container is shown to need, with the patch
// that takes it away.
func each(t *testing.T, c container, test func(t *testing.T, patch string)) {
	for _, capability := range granted.Proven[c.Name] {
		rest := slices.DeleteFunc(slices.Clone(c.SecurityContext.Capabilities.Add), func(s string) bool { return s == capability })
		kind := "containers"
		if c.Name == "uninstall" {
			kind = "initContainers"
		}
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{kind: []any{
			map[string]any{"name": c.Name, "securityContext": map[string]any{"capabilities": map[string]any{"add": rest}}},
		}}}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name+" "+capability, func(t *testing.T) { test(t, string(patch)) })
		if !*full {
			return
		}
	}
}

// misses waits until a container says that the kernel refuses it something, before the
// kubelet has started it again perhaps.
func misses(t *testing.T, w *world.World, pod, name string, exercise func()) {
	t.Helper()
	said, all := "", ""
	if !await.Within(time.Minute, func() bool {
		exercise()
		log, _ := w.Kubectl("-n", world.Namespace, "logs", pod, "-c", name)
		before, _ := w.Kubectl("-n", world.Namespace, "logs", pod, "-c", name, "--previous")
		all = before + log
		said = denied.FindString(all)
		return said != ""
	}) {
		t.Errorf("it misses nothing:\n%s", all)
	}
	t.Log(said)
}

// newest is the pod of a DaemonSet that was made last, or "".
func newest(w *world.World, set string) string {
	all := strings.Fields(w.Must("-n", world.Namespace, "get", "pods", "-l", "app.kubernetes.io/component="+strings.TrimPrefix(set, "sluice-"),
		"--sort-by=.metadata.creationTimestamp", "-o", "jsonpath={.items[*].metadata.name}"))
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// exercise has sluice do what it is for: a running pod is selected, a selected one starts,
// if it can, and is let go, and the node's network configuration is written anew by its
// owner.
func exercise(t *testing.T, w *world.World, list string, untouched []byte) {
	t.Helper()
	if err := os.WriteFile(list, untouched, 0o600); err != nil {
		t.Fatal(err)
	}
	w.Must("label", "namespace", "exercise", "sluice.dev/inject=true", "--overwrite")
	w.Must("-n", "exercise", "delete", "pod", "-l", "app=sleep")
	w.Kubectl("-n", "exercise", "rollout", "status", "deployment/sleep", "--timeout=5s")
	w.Must("label", "namespace", "exercise", "sluice.dev/inject-")
}
