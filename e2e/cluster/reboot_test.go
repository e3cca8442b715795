package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

func TestANodesPodsAreGovernedAfterItsReboot(t *testing.T) {
	w := world.New(t, world.Options{})
	tiers.Act(w.Internet)
	w.Install()
	w.Must("label", "namespace", "default", "sluice.dev/inject=true")
	if _, err := w.KubectlIn(suite.Sleep(world.App), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.Rollout("default", "deployment/sleep")
	governed := func() error {
		out, err := w.Exec("default", "deployment/sleep", "curl -s -m 5 -o /dev/null -w '%{http_code}' http://httpbin.org/headers")
		if err == nil && !strings.Contains(out, "502") {
			err = fmt.Errorf("answered %q, not 502", out)
		}
		return err
	}
	w.Eventually("the pod is governed", governed)
	w.Reboot()
	w.Eventually("the pod is governed after the reboot", governed)
	if n := w.Internet.Connections("httpbin.org"); n != 0 {
		t.Errorf("%d connections have reached a host that nobody registers", n)
	}
}
