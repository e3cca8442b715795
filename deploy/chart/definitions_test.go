package chart_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/internal/await"
)

// others are the definitions of kinds that the chart renders and does not bring, out of the
// modules that their makers publish.
var others = map[string]string{
	"github.com/openshift/api":                           "security/v1/zz_generated.crd-manifests/0000_03_config-operator_01_securitycontextconstraints.crd.yaml",
	"github.com/prometheus-operator/prometheus-operator": "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
}

// knowsOthersKinds has an API server judge a PodMonitor and a SecurityContextConstraints as
// those of their makers would.
func knowsOthersKinds(t *testing.T, s *apiserver.Server) {
	t.Helper()
	for module, file := range others {
		c := exec.Command("go", "mod", "download", "-json", module)
		c.Dir = "../../tools/definitions"
		out, err := c.Output()
		var m struct{ Dir, Error string }
		if err == nil {
			err = json.Unmarshal(out, &m)
		}
		if err != nil || m.Error != "" {
			t.Fatalf("%s: %v\n%s", module, err, out)
		}
		definition, err := os.ReadFile(filepath.Join(m.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := kubectl(s, string(definition), "apply", "--server-side", "-f", "-"); err != nil {
			t.Fatalf("%s: %v\n%s", module, err, out)
		}
	}
	for _, name := range []string{"podmonitors.monitoring.coreos.com", "securitycontextconstraints.security.openshift.io"} {
		// `kubectl wait` fails at once where a definition comes with conditions: null.
		await.True(t, "definition "+name+" is established", func() bool {
			out, err := kubectl(s, "", "get", "crd", name, "-o", `jsonpath={.status.conditions[?(@.type=="Established")].status}`)
			return err == nil && out == "True"
		})
	}
}
