package plugin

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/sluice-cni/sluice/rules"
)

// Fields gives other programs the fields of rules.Config that a configuration of the
// plugin holds, and its rangesFile, "" for the default: from an object of such fields
// alone, from the plugin's entry, or from the list that the entry is in.
func Fields(data []byte) (fields map[string]json.RawMessage, rangesFile string, err error) {
	object, err := rules.Members(data)
	if err != nil {
		return nil, "", err
	}
	if list, ok := object["plugins"]; ok {
		if object, err = entry(list); err != nil {
			return nil, "", err
		}
	}
	s, err := readSettings(object)
	if object[keyRangesFile] != nil {
		rangesFile = s.rangesFile
	}
	return ownFields(object), rangesFile, err
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
