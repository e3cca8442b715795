package cluster

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/kubeapi"
)

// Manifest is the DaemonSet whose pods take sluice out of their node, in an init container.
type Manifest struct {
	set    daemonSet
	object map[string]any
}

// ReadManifest reads one in YAML or JSON, which must say its namespace.
func ReadManifest(text []byte) (*Manifest, error) {
	m := &Manifest{}
	err := yaml.Unmarshal(text, &m.object)
	if err == nil {
		text, err = json.Marshal(m.object)
	}
	if err == nil {
		err = json.Unmarshal(text, &m.set)
	}
	switch {
	case err != nil:
		return nil, err
	case m.set.Kind != kubeapi.DaemonSets.Name:
		return nil, fmt.Errorf("kind: value %q: must be %s", m.set.Kind, kubeapi.DaemonSets.Name)
	case m.set.Metadata.Name == "" || m.set.Metadata.Namespace == "":
		return nil, errors.New("metadata: name and namespace must be there")
	}
	return m, nil
}

// Key says which DaemonSet it is.
func (m *Manifest) Key() kubeapi.Key { return m.set.key() }

// of is the manifest with pods of a pass, which are made anew, whoever made such a DaemonSet
// before: a pod of then is ready since, whatever its node has come to.
func (m *Manifest) of(run string) ([]byte, error) {
	inner(inner(inner(inner(m.object, "spec"), "template"), "metadata"), "annotations")[runAnnotation] = run
	return json.Marshal(m.object)
}

// inner is the object of an object, made where it is not there.
func inner(object map[string]any, name string) map[string]any {
	in, ok := object[name].(map[string]any)
	if !ok {
		in = map[string]any{}
		object[name] = in
	}
	return in
}
