package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Each kind has a definition with the versions that people write, with a label of ours in
// place of those of a release that this is not, and with what keeps helm from deleting it.
func TestEachKindHasItsDefinition(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "crds")
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range Kinds {
		data, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Kind     string
			Metadata struct {
				Name                string
				Labels, Annotations map[string]string
			}
			Spec struct {
				Group    string
				Versions []struct {
					Name            string
					Served, Storage bool
				}
			}
		}
		if err := yaml.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		if d.Metadata.Name != name || d.Kind != "CustomResourceDefinition" || d.Spec.Group != "networking.istio.io" {
			t.Errorf("%s: is %s %s of %s", name, d.Kind, d.Metadata.Name, d.Spec.Group)
		}
		if len(d.Metadata.Labels) != 1 || d.Metadata.Labels["app.kubernetes.io/name"] != "sluice" {
			t.Errorf("%s: has labels %v", name, d.Metadata.Labels)
		}
		if d.Metadata.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s: helm would delete it: %v", name, d.Metadata.Annotations)
		}
		served := map[string]bool{}
		for _, v := range d.Spec.Versions {
			served[v.Name] = v.Served
		}
		for _, version := range []string{"v1", "v1beta1", "v1alpha3"} {
			if !served[version] {
				t.Errorf("%s: %s is not served", name, version)
			}
		}
	}
}

func TestADefinitionThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	_, err := Select([]byte("kind: CustomResourceDefinition\nmetadata:\n  name: sidecars.networking.istio.io\n"))
	if err == nil || !strings.Contains(err.Error(), "serviceentries") || strings.Contains(err.Error(), "sidecars") {
		t.Errorf("it says %v", err)
	}
}

// Of a definition that has changed nothing is guessed.
func TestAnotherDefinitionIsToldApart(t *testing.T) {
	t.Parallel()
	if _, err := withOlderName([]byte(version + host + needsIt + version + host)); err == nil {
		t.Error("a definition whose host need not be there is taken")
	}
}
