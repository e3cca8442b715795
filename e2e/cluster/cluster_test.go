package cluster_test

import (
	"os"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

func TestMain(m *testing.M) { os.Exit(world.Main(m)) }

func TestAClusterOfOneNodeComesUp(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Internet.Web("outside.example", 80, nil)
	if _, err := w.KubectlIn(suite.Sleep(world.App), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.Rollout("default", "deployment/sleep")
	for script, want := range map[string]string{
		"curl -sk -m 5 -o /dev/null -w '%{http_code}' https://kubernetes.default/version":         "200", // DNS, a Service, the API server
		"curl -s -m 5 -o /dev/null -w '%{http_code}' http://outside.example/":                     "200", // the internet
		"curl -s -m 5 -o /dev/null -w '%{http_code}' http://nobody.example/ || echo ' not found'": "not found",
	} {
		if got, err := w.Exec("default", "deployment/sleep", script); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v; want %s", script, got, err, want)
		}
	}
	if cidr := w.Must("get", "node", world.NodeName, "-o", "jsonpath={.spec.podCIDR}"); cidr != "10.244.0.0/24" {
		t.Errorf("the node's range of pods is %q", cidr)
	}
}
