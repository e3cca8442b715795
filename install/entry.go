package install

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/selection"
)

// NodeEntry is what makes the plugin work with the holder and the agent of its node.
// What it does not say is decided by its defaults and the policy.
func NodeEntry() json.RawMessage {
	return json.RawMessage(`{
  "type": "sluice-cni",
  "capabilities": {"io.kubernetes.cri.pod-annotations": true, "dns": true},
  "agentSocket": "` + holder.DefaultSocket + `",
  "policyFile": "` + selection.DefaultPath + `"
}`)
}

// CheckEntry judges the plugin's configuration: all errors, before any file is touched.
func CheckEntry(entry json.RawMessage) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(entry, &object); err != nil {
		return err
	}
	for _, key := range []string{"name", "cniVersion", "plugins"} {
		if object[key] != nil {
			return fmt.Errorf("field %q: belongs to the list, not to an entry; take it out", key)
		}
	}
	conf, err := selection.ReadConf(object)
	if err == nil && string(object["type"]) != `"sluice-cni"` {
		err = errors.New(`field "type": must be "sluice-cni"`)
	}
	if err == nil {
		_, err = selection.Configure(conf, nil, selection.Pod{}, someRanges)
	}
	return err
}

// someRanges stand for those of includeIPRanges auto, by which the entry is not judged:
// they may come later.
func someRanges() (cidr.List, error) {
	some, _, err := cidr.Parse("192.0.2.0/24,2001:db8::/32")
	return some, err
}
