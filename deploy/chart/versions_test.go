package chart_test

import (
	"strings"
	"testing"
)

// An upgrade of such a k3s takes the plugin from its nodes.
func TestAK3sThatLosesThePluginIsRefused(t *testing.T) {
	t.Parallel()
	for version, refused := range map[string]bool{
		"1.27.16+k3s1": true, "1.28.14": true, "1.28.15+k3s1": false, "1.29.9+k3s1": true, "1.29.10": false,
		"1.30.5+k3s1": true, "1.30.6+k3s1": false, "1.31.1+k3s1": true, "1.31.2+k3s1": false, "1.34.0+k3s1": false,
	} {
		_, err := renderFor(t, version, `platform="k3s"`)
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "each upgrade of k3s replaces") {
			t.Errorf("%s: refused %t, want %t: %v", version, err != nil, refused, err)
		}
	}
	for _, values := range [][]string{{`platform="k3s"`, `cni.binDir="/var/lib/rancher/k3s/data/current/bin"`}, {`platform="rke2"`}} {
		if _, err := renderFor(t, "1.30.0", values...); err != nil {
			t.Errorf("%q: %v", values, err)
		}
	}
}

// What an older Kubernetes does not know is said in its words, or left out.
func TestAnOlderKubernetesIsRenderedFor(t *testing.T) {
	t.Parallel()
	for version, older := range map[string]bool{"1.27.0": true, "1.29.15-gke.100": true, "1.30.0": false, "1.34.0": false} {
		text, err := renderFor(t, version)
		if err != nil {
			t.Fatal(err)
		}
		// Three workloads' pods, two of them with two containers.
		if n := strings.Count(text, "container.apparmor.security.beta.kubernetes.io/"); older && n != 5 || !older && n != 0 {
			t.Errorf("%s: %d annotations for AppArmor", version, n)
		}
		for _, part := range []string{"appArmorProfile:", "kind: ValidatingAdmissionPolicy"} {
			if strings.Contains(text, part) == older {
				t.Errorf("%s: has %s: %t", version, part, older)
			}
		}
	}
	if _, err := renderFor(t, "1.26.0"); err == nil || !strings.Contains(err.Error(), "kubeVersion") {
		t.Errorf("1.26: %v", err)
	}
}
