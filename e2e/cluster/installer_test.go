package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// An installer that looks where no runtime does would have new pods start ungoverned, seen by
// nobody: its pod is not ready, an Event says why, the rollout does not go on, and helm's test
// fails. With the right folder it ends by itself.
func TestAnInstallerThatFailsIsSeen(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Install()
	upgrade := func(set string) {
		t.Helper()
		if out, err := w.Helm("upgrade", "sluice", world.Chart(), "--namespace", world.Namespace, "--reuse-values", "--set", set); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	upgrade("cni.confDir=/run/sluice-e2e-nowhere/net.d")
	w.Eventually("an Event says what the installer lacks", func() error {
		said := w.Must("-n", world.Namespace, "get", "events", "--field-selector", "reason=Unhealthy", "-o", "jsonpath={.items[*].message}")
		if !strings.Contains(said, "holds no network configuration") {
			return errors.New(said)
		}
		return nil
	})
	if out, err := w.Kubectl("-n", world.Namespace, "rollout", "status", "daemonset/sluice-agent", "--timeout=10s"); err == nil {
		t.Errorf("the rollout is done:\n%s", out)
	}
	if _, err := w.Helm("test", "sluice", "--namespace", world.Namespace); err == nil || !strings.Contains(err.Error(), "containers with unready status: [installer]") {
		t.Errorf("helm's test says: %v", err)
	}
	upgrade("cni.confDir=" + world.ConfDir)
	w.Rollout(world.Namespace, "daemonset/sluice-agent")
}
