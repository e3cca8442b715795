package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
)

// conf is what one call of the plugin is told: its part of the network
// configuration list, and what the runtime adds about the pod.
type conf struct {
	cniVersion string
	prevResult json.RawMessage // nil when there is none
	pod        pod
	settings   settings

	stdin    []byte
	problems error // what is wrong with the settings and the pod's data
}

// standardKeys are those that the specification or libcni may put into any
// plugin's configuration; keys in the name space cni.dev/ are too. Everything
// else must be the plugin's or a field of rules.Config: a misspelt one would
// capture too little and nobody would know.
var standardKeys = []string{
	"args", "capabilities", "cniVersion", "cniVersions", "disableCheck", "disableGC",
	"dns", "ipMasq", "ipam", "loadOnlyInlinedPlugins", "name", "prevResult", "runtimeConfig", "type",
}

// readConf reads what decides whether the pod is selected at all, and keeps the
// problems for those that are.
func readConf(args *skel.CmdArgs) conf {
	c := conf{stdin: args.StdinData}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(args.StdinData, &object); err != nil {
		c.problems = fmt.Errorf("not a JSON object: %w", err)
	}
	if raw := bytes.TrimSpace(object["prevResult"]); len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
		c.prevResult = raw
	}
	if raw, ok := object["cniVersion"]; ok {
		if err := json.Unmarshal(raw, &c.cniVersion); err != nil {
			c.problems = errors.Join(c.problems, fmt.Errorf("cniVersion %s: not a string; write it as \"1.0.0\"", raw))
		}
	}
	var inSettings, inPod error
	c.settings, inSettings = readSettings(object)
	c.pod, inPod = readPod(args.Args, object)
	c.problems = errors.Join(c.problems, inSettings, inPod)
	return c
}

// plan is what the pod's rules should be, with everything worth a warning. All
// errors come at once, those of the settings too. auto is asked for the ranges that
// includeIPRanges auto stands for.
func (c conf) plan(auto func() (cidr.List, error)) (rules.Plan, []rules.Warning, error) {
	object, err := rules.Members(c.stdin)
	if err != nil {
		return rules.Plan{}, nil, badConf(errors.Join(err, c.problems))
	}
	fields, notes, inAnnotations := c.annotated(ownFields(object))
	config, warnings, err := rules.Decode(fields)
	if err := errors.Join(c.problems, err, inAnnotations); err != nil {
		return rules.Plan{}, nil, badConf(err)
	}
	config, doubts, err := config.Resolve(auto)
	if err != nil {
		return rules.Plan{}, nil, badConf(err)
	}
	plan, err := rules.NewPlan(config)
	if err != nil {
		return rules.Plan{}, nil, badConf(err)
	}
	return plan, slices.Concat(notes, warnings, doubts), nil
}

// ownFields leaves the keys that must be fields of rules.Config.
func ownFields(object map[string]json.RawMessage) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	for key, value := range object {
		if !slices.Contains(standardKeys, key) && !slices.Contains(ownKeys(), key) && !strings.HasPrefix(key, "cni.dev/") {
			fields[key] = value
		}
	}
	return fields
}

func badConf(err error) error {
	return types.NewError(types.ErrInvalidNetworkConfig, "the configuration of sluice-cni cannot be used", oneLine(err))
}

// oneLine joins the errors of a list the way a log line can hold them.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// needPrevResult refuses to run without a chain: an empty result would give the
// pod no address, and nobody would see why.
func (c conf) needPrevResult() error {
	if c.prevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "prevResult is missing",
			"sluice-cni is a chained plugin; put it after the plugin that makes the interface (ptp, bridge, ...) in the list's plugins")
	}
	if err := c.judgePrevResult(); err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "prevResult cannot be read", err.Error())
	}
	return nil
}

var errNotObject = errors.New("not a JSON object")
