package selection

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/sluice-cni/sluice/rules"
)

// Entry reads what a configuration of the plugin holds, from an object of fields alone,
// from the plugin's entry, or from the list that the entry is in.
func Entry(data []byte) (map[string]json.RawMessage, error) {
	object, err := rules.Members(data)
	if err != nil {
		return nil, err
	}
	if list, ok := object["plugins"]; ok {
		return entry(list)
	}
	return object, nil
}

// entry finds the plugin's entry in a list.
func entry(list json.RawMessage) (map[string]json.RawMessage, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(list, &entries); err != nil {
		return nil, errors.New("plugins: not a list of objects")
	}
	for _, raw := range entries {
		var of struct{ Type string }
		if json.Unmarshal(raw, &of) == nil && of.Type == "sluice-cni" {
			return rules.Members(bytes.TrimSpace(raw))
		}
	}
	return nil, errors.New("plugins: none of them has the type sluice-cni")
}
