package plugin

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/selection"
)

// capability is how containerd and CRI-O hand a plugin all annotations of a pod,
// when the configuration declares it under capabilities. So nobody needs to be
// asked: no API server, no agent.
const capability = "io.kubernetes.cri.pod-annotations"

func readPod(cniArgs string, object map[string]json.RawMessage) (selection.Pod, error) {
	var p selection.Pod
	for pair := range strings.SplitSeq(cniArgs, ";") {
		// Unknown keys and odd pairs are other plugins' business; a value may hold "=".
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "K8S_POD_NAMESPACE":
			p.Namespace = value
		case "K8S_POD_NAME":
			p.Name = value
		case "K8S_POD_UID":
			p.UID = value
		}
	}
	raw, given := object["runtimeConfig"]
	if !given {
		return p, nil
	}
	var runtimeConfig map[string]json.RawMessage
	if err := json.Unmarshal(raw, &runtimeConfig); err != nil {
		return p, fmt.Errorf("runtimeConfig %q: not a JSON object", raw)
	}
	if raw, given = runtimeConfig[capability]; !given {
		return p, nil
	}
	if err := json.Unmarshal(raw, &p.Annotations); err != nil {
		return p, fmt.Errorf("runtimeConfig %s %q: not an object of strings, as annotations are", capability, raw)
	}
	return p, nil
}

// readDNS reads what the pod's resolv.conf will say, which runtimes hand over to a plugin
// with the capability dns (the conventions of CNI; containerd and CRI-O do). It is nil
// where the runtime does not say, or not in the conventions' words.
func readDNS(object map[string]json.RawMessage) *selection.DNS {
	var runtimeConfig struct{ DNS *selection.DNS }
	if json.Unmarshal(object["runtimeConfig"], &runtimeConfig) != nil {
		return nil
	}
	return runtimeConfig.DNS
}
