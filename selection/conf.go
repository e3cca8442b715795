// Package selection says which pods are captured, and how: from the plugin's entry in a
// network configuration list, the node's policy and the pod's own annotations it makes
// the rules.Config of one pod. The CNI plugin asks it at ADD, the node agent whenever
// one of the three changes. It opens no socket and asks nobody; ReadFile and WriteFile
// keep the policy on the node's disk, and a Source brings a newer one.
//
//	conf, err := selection.ReadConf(entry)
//	policy, err := selection.ReadFile(conf.PolicyFile)
//	d, err := selection.Decide(conf, policy, pod, ranges)
package selection

import (
	"encoding/json"
	"slices"
	"strings"
)

// Conf is the plugin's entry in a network configuration list: its own keys, and the
// fields of rules.Config as they were written.
type Conf struct {
	Settings
	Fields map[string]json.RawMessage
}

// StandardKeys are those that the specification or libcni may put into any
// plugin's configuration; keys in the name space cni.dev/ are too. Everything
// else must be the plugin's or a field of rules.Config: a misspelt one would
// capture too little and nobody would know.
func StandardKeys() []string {
	return []string{
		"args", "capabilities", "cniVersion", "cniVersions", "disableCheck", "disableGC",
		"dns", "ipMasq", "ipam", "loadOnlyInlinedPlugins", "name", "prevResult", "runtimeConfig", "type",
	}
}

// SpecVersions are the versions of the CNI specification in which the plugin runs:
// before them there is no chain, and so no result of a plugin before it.
func SpecVersions() []string { return []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} }

// ReadConf reads the entry, split into its members; nil is one without any. What it
// gives is valid beside an error too: a key that cannot be read has its default and
// makes Select choose the pod. The fields are judged by Decide.
func ReadConf(object map[string]json.RawMessage) (Conf, error) {
	settings, err := readSettings(object)
	return Conf{Settings: settings, Fields: ownFields(object)}, err
}

// Own leaves the members that are the plugin's own keys or fields: what ReadConf needs,
// without what the specification gives to every plugin.
func Own(object map[string]json.RawMessage) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for key, value := range object {
		if !slices.Contains(StandardKeys(), key) && !strings.HasPrefix(key, "cni.dev/") {
			out[key] = value
		}
	}
	return out
}

// ownFields leaves the keys that must be fields of rules.Config.
func ownFields(object map[string]json.RawMessage) map[string]json.RawMessage {
	fields := Own(object)
	for _, key := range Keys() {
		delete(fields, key)
	}
	return fields
}
