package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// conf is what one call of the plugin is told: its part of the network
// configuration list, and what the runtime adds about the pod.
type conf struct {
	cniVersion string
	prevResult json.RawMessage // nil when there is none
	pod        selection.Pod
	selection.Conf
	network string         // the list's name
	dns     *selection.DNS // of the pod; nil where the runtime does not say
	own     map[string]json.RawMessage

	policy       *selection.Policy // nil for none
	policyBroken error             // why it is not known; ErrNone where there never was one

	stdin    []byte
	problems error // what is wrong with the settings and the pod's data
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
	json.Unmarshal(object["name"], &c.network) // libcni has judged it
	c.own, c.dns = selection.Own(object), readDNS(object)
	var inSettings, inPod error
	c.Conf, inSettings = selection.ReadConf(object)
	c.pod, inPod = readPod(args.Args, object)
	c.problems = errors.Join(c.problems, inSettings, inPod)
	return c
}

// withPolicy reads the node's policy, where the entry names one.
func (c conf) withPolicy() conf {
	if c.AgentSocket != "" && c.PolicyFile != "" {
		c.policy, c.policyBroken = selection.ReadFile(c.PolicyFile)
	}
	return c
}

// selected says whether the pod is the plugin's business at all, and why. On a node
// that never had a policy nobody is: its agent writes one, and enrols the pods then. A
// policy that was there and cannot be read selects all but those that the entry
// excludes: what it said of the others only it could tell.
func (c conf) selected() (bool, string) {
	if c.policyBroken == nil {
		return selection.Select(c.Conf, c.policy, c.pod)
	}
	if exempt, why := selection.Exempt(c.Conf, nil, c.pod.Namespace); exempt {
		return false, why
	}
	if errors.Is(c.policyBroken, selection.ErrNone) {
		return false, c.policyBroken.Error() + " on this node; its agent will, and enrols the pod then"
	}
	return true, c.policyBroken.Error()
}

// decide is what becomes of a pod that is selected, with everything worth a warning. All
// errors come at once, those of the settings too. auto is asked for the ranges that
// includeIPRanges auto stands for.
func (c conf) decide(auto func() (cidr.List, error)) (selection.Decision, error) {
	if _, err := rules.Members(c.stdin); err != nil {
		return selection.Decision{}, badConf(errors.Join(err, c.problems))
	}
	d, err := selection.Configure(c.Conf, c.policy, c.pod, auto)
	if err := errors.Join(c.problems, err); err != nil {
		return d, badConf(err)
	}
	if c.policyBroken != nil && !errors.Is(c.policyBroken, selection.ErrNone) {
		return d, types.NewError(types.ErrTryAgainLater, "the node's policy cannot be read, so nobody knows whether the pod is to be captured", c.policyBroken.Error())
	}
	return d, nil
}

// plan is decide's answer as rules.
func (c conf) plan(auto func() (cidr.List, error)) (rules.Plan, []rules.Warning, error) {
	d, err := c.decide(auto)
	if err != nil {
		return rules.Plan{}, nil, err
	}
	plan, err := rules.NewPlan(d.Config)
	if err != nil {
		return rules.Plan{}, nil, badConf(err)
	}
	return plan, d.Warnings, nil
}

func badConf(err error) error {
	return types.NewError(types.ErrInvalidNetworkConfig, "the configuration of sluice-cni cannot be used", oneLine(err))
}

// longestText bounds what of an error is passed on, in bytes: a pod's annotations, which
// it may quote, have up to 256 KiB, and a runtime logs what it gets.
const longestText = 8 << 10

// oneLine joins the errors of a list the way a log line can hold them.
func oneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "") + "…"
	}
	return text
}

// saidBy is oneLine for what somebody else said.
func saidBy(err error) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, oneLine(err))
}

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
