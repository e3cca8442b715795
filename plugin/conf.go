package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/rules"
)

// conf is the plugin's part of a network configuration list.
type conf struct {
	cniVersion string
	prevResult json.RawMessage // nil when there is none
	rules      rules.Config
	plan       rules.Plan
	warnings   []rules.Warning
}

// standardKeys are those that the specification or libcni may put into any
// plugin's configuration; keys in the name space cni.dev/ are too. Everything
// else must be a field of rules.Config: a misspelt one would capture too little
// and nobody would know.
var standardKeys = []string{
	"args", "capabilities", "cniVersion", "cniVersions", "disableCheck", "disableGC",
	"dns", "ipMasq", "ipam", "loadOnlyInlinedPlugins", "name", "prevResult", "runtimeConfig", "type",
}

func parseConf(stdin []byte) (conf, error) {
	object, err := rules.Members(stdin)
	if err != nil {
		return conf{}, badConf(err)
	}
	c := conf{}
	if raw := bytes.TrimSpace(object["prevResult"]); len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
		c.prevResult = raw
	}
	if raw, ok := object["cniVersion"]; ok {
		if err := json.Unmarshal(raw, &c.cniVersion); err != nil {
			return conf{}, badConf(fmt.Errorf("cniVersion %s: not a string; write it as \"1.0.0\"", raw))
		}
	}
	fields := map[string]json.RawMessage{}
	for key, value := range object {
		if !slices.Contains(standardKeys, key) && !strings.HasPrefix(key, "cni.dev/") {
			fields[key] = value
		}
	}
	c.rules, c.warnings, err = rules.Decode(fields)
	if err != nil {
		return conf{}, badConf(err)
	}
	c.plan, err = rules.NewPlan(c.rules)
	if err != nil {
		return conf{}, badConf(err)
	}
	return c, nil
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
	if _, err := c.previous(); err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "prevResult cannot be read", err.Error())
	}
	return nil
}

var errNotObject = errors.New("not a JSON object")
