package yamltext

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Boolean reads a plain word as Kubernetes' tools do, by YAML 1.1: yes and on are true, no
// and off false, in any case. y and n, which not all of them take for booleans, are none.
func Boolean(n *yaml.Node) (value, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Style != 0 {
		return false, false
	}
	switch strings.ToLower(n.Value) {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

// OldBoolean says whether a word is a boolean in YAML 1.1 alone, so that only quotes make it
// text for everybody.
func OldBoolean(word string) bool {
	switch strings.ToLower(word) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}
