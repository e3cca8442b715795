package cluster_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// What the chart installs is asked for its health by helm, is given the rights that it
// uses, and is gone after helm's uninstall, but for a plugin that passes everything
// through and what is the users'.
func TestTheChartIsInstalledTestedAndTakenOut(t *testing.T) {
	w := world.New(t, world.Options{})
	before := entries(t, world.ConfDir)
	w.Install()
	if out, err := w.Helm("test", "sluice", "--namespace", world.Namespace); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, c := range []struct{ set, container string }{{"sluice-agent", "agent"}, {"sluice-agent", "installer"}, {"sluice-holder", "holder"}} {
		log := w.Must("-n", world.Namespace, "logs", "daemonset/"+c.set, "-c", c.container)
		for _, bad := range []string{"forbidden", "permission denied", "operation not permitted", "read-only file system", "level=ERROR"} {
			for line := range strings.Lines(log) {
				if strings.Contains(strings.ToLower(line), strings.ToLower(bad)) {
					t.Errorf("%s says: %s", c.container, line)
				}
			}
		}
	}
	if restarts := w.Must("-n", world.Namespace, "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"); strings.Trim(restarts, "0 ") != "" {
		t.Errorf("containers were started again: %s", restarts)
	}
	if got := entries(t, world.ConfDir); len(got) == len(before) {
		t.Errorf("the plugin is in no network configuration: %q", got)
	}

	if out, err := w.Helm("uninstall", "sluice", "--namespace", world.Namespace, "--wait", "--timeout", "5m"); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, w.Describe(world.Namespace))
	}
	takenOut(t, w, before)
}

// takenOut requires that nothing of sluice is left in a cluster and on its node, where
// before were the network configuration's files, but a plugin that passes everything
// through and the definitions, which are the users'.
func takenOut(t *testing.T, w *world.World, before []string) {
	t.Helper()
	if got := entries(t, world.ConfDir); !slices.Equal(got, before) {
		t.Errorf("the network configuration has %q, and had %q before", got, before)
	}
	onlyThePluginStays(t, w)
	left := w.Must("get", "daemonsets,jobs,configmaps,roles,rolebindings,serviceaccounts,clusterroles,clusterrolebindings,validatingadmissionpolicies", "-A", "-o", "name", "-l", "app.kubernetes.io/name=sluice")
	if strings.TrimSpace(left) != "" {
		t.Errorf("helm leaves behind\n%s", left)
	}
	if kinds := w.Must("get", "crd", "-o", "name"); strings.Count(kinds, "networking.istio.io") != 4 {
		t.Errorf("the definitions did not stay:\n%s", kinds)
	}
}

// entries are the files below a folder.
func entries(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
