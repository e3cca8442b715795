package namespaces

import (
	"encoding/json"
	"maps"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/policydir"
)

// Judge says what keeps a ConfigMap's policy from being in force, nil where nothing does:
// agents then go on with what it last said that was good.
func Judge(o kubeapi.Object) error {
	_, err := compile(o)
	return err
}

// compile makes a policy of a ConfigMap: each key that could be the name of a policy
// file is one, and all of them together are what a directory of them is.
func compile(o kubeapi.Object) (*selection.Policy, error) {
	var m struct{ Data map[string]string }
	if err := json.Unmarshal(o.JSON, &m); err != nil {
		return nil, err
	}
	maps.DeleteFunc(m.Data, func(name, _ string) bool { return !policydir.IsFile(name) })
	return policydir.ParseAll(m.Data)
}
