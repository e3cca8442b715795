package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/selection"
)

// nodeEntry is what makes the plugin work with the holder and the agent of its node.
// What it does not say is decided by its defaults and the policy.
func nodeEntry() json.RawMessage {
	return json.RawMessage(`{
  "type": "sluice-cni",
  "capabilities": {"io.kubernetes.cri.pod-annotations": true, "dns": true},
  "agentSocket": "` + holder.DefaultSocket + `",
  "policyFile": "` + selection.DefaultPath + `"
}`)
}

// readEntry reads and judges the plugin's configuration: all errors, before any file
// is touched.
func (o installOptions) readEntry(c *cobra.Command) (json.RawMessage, error) {
	raw := nodeEntry()
	if o.entry != "" {
		data, _, err := readInput(c, o.entry)
		if err != nil {
			return nil, err
		}
		raw = data
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("entry %s: %w", o.entry, err)
	}
	for _, key := range []string{"name", "cniVersion", "plugins"} {
		if object[key] != nil {
			return nil, fmt.Errorf("entry %s: field %q: belongs to the list, not to an entry; take it out", o.entry, key)
		}
	}
	conf, err := selection.ReadConf(object)
	if err == nil && string(object["type"]) != `"sluice-cni"` {
		err = errors.New(`field "type": must be "sluice-cni"`)
	}
	if err == nil {
		_, err = selection.Configure(conf, nil, selection.Pod{}, someRanges)
	}
	if err != nil {
		return nil, hinted(fmt.Errorf("entry %s: %w", o.entry, err), "docs/cni.md lists the fields")
	}
	return raw, nil
}

// someRanges stand for those of includeIPRanges auto, by which the entry is not judged:
// they may come later.
func someRanges() (cidr.List, error) {
	some, _, err := cidr.Parse("192.0.2.0/24,2001:db8::/32")
	return some, err
}
