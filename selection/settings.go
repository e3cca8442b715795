package selection

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/rules"
)

// Settings are the configuration's keys that are the plugin's own, beside the
// fields of rules.Config: which pods and interfaces it acts for, and what a pod's
// annotations may not change. docs/cni.md describes them.
type Settings struct {
	Selection         string        // All or Annotated; default All
	ExcludeNamespaces []string      // pods of these pass through, whatever they say
	Interfaces        []string      // Everything or names; default eth0
	Enforce           []string      // fields, Inject, or Everything
	Timeout           time.Duration // of a whole run; default 10 s
	RangesFile        string        // what includeIPRanges auto stands for
	AgentSocket       string        // of the node's holder; "" is standalone
	PolicyFile        string        // the node's policy, "" for none

	broken []string // keys whose values could not be read
}

// NodeMode reports whether a node's agent serves the pods.
func (s Settings) NodeMode() bool {
	return s.AgentSocket != "" || slices.Contains(s.broken, KeyAgentSocket)
}

// The keys.
const (
	KeySelection         = "selection"
	KeyExcludeNamespaces = "excludeNamespaces"
	KeyInterfaces        = "interfaces"
	KeyEnforce           = "enforce"
	KeyTimeout           = "timeout"
	KeyRangesFile        = "rangesFile"
	KeyAgentSocket       = "agentSocket"
	KeyPolicyFile        = "policyFile"
)

const (
	// All selects every pod but those that opt out.
	All = "all"
	// Annotated selects only pods that opt in.
	Annotated = "annotated"
	// Everything is the star of lists.
	Everything = "*"
	// DefaultInterface is what Kubernetes' runtimes call the interface of a pod that
	// they make themselves; Multus calls the others net1, net2, ...
	DefaultInterface = "eth0"
	// DefaultTimeout of a run of the plugin.
	DefaultTimeout = 10 * time.Second

	shortest = 100 * time.Millisecond
	longest  = 3 * time.Minute // runtimes give up after about four
)

// Keys lists the plugin's own keys.
func Keys() []string {
	return []string{KeySelection, KeyExcludeNamespaces, KeyInterfaces, KeyEnforce, KeyTimeout, KeyRangesFile, KeyAgentSocket, KeyPolicyFile}
}

// readSettings reads what it can. A key that cannot be read keeps its default and
// is named in broken.
func readSettings(object map[string]json.RawMessage) (Settings, error) {
	s := Settings{Selection: All, Interfaces: []string{DefaultInterface}, Timeout: DefaultTimeout, RangesFile: rangesfile.DefaultPath}
	parsers := map[string]func(json.RawMessage) error{
		KeySelection:         oneOf(&s.Selection, All, Annotated),
		KeyExcludeNamespaces: intoList(&s.ExcludeNamespaces),
		KeyInterfaces:        s.setInterfaces,
		KeyEnforce:           intoEnforced(&s.Enforce),
		KeyTimeout:           s.setTimeout,
		KeyRangesFile:        intoPath(&s.RangesFile),
		KeyAgentSocket:       intoPath(&s.AgentSocket),
		KeyPolicyFile:        intoPath(&s.PolicyFile),
	}
	var errs []error
	for _, key := range Keys() {
		raw, given := object[key]
		if !given {
			continue
		}
		if err := parsers[key](raw); err != nil {
			s.broken = append(s.broken, key)
			errs = append(errs, fmt.Errorf("%s %w", key, err))
		}
	}
	if s.Selection == Annotated && slices.Contains(s.Enforce, Inject) {
		errs = append(errs, errors.New(`enforce "inject": selection is annotated, so no pod could be captured at all; remove it or set selection to all`))
	}
	if s.PolicyFile != "" && s.AgentSocket == "" && !slices.Contains(s.broken, KeyAgentSocket) {
		errs = append(errs, fmt.Errorf("policyFile %q: has no effect without agentSocket; name that too, or remove it", s.PolicyFile))
	}
	return s, errors.Join(errs...)
}

// oneOf reads a string that is one of the given.
func oneOf(to *string, known ...string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		text, err := stringOf(raw)
		if err == nil && !slices.Contains(known, text) {
			err = fmt.Errorf("%q: not a known value; use %s", text, strings.Join(known, " or "))
		}
		if err == nil {
			*to = text
		}
		return err
	}
}

// intoPath reads an absolute path: a relative one would depend on where a runtime
// happens to have been started.
func intoPath(to *string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		text, err := stringOf(raw)
		if err == nil && !filepath.IsAbs(text) {
			err = fmt.Errorf("%q: not an absolute path; begin with a slash", text)
		}
		if err == nil {
			*to = text
		}
		return err
	}
}

func (s *Settings) setInterfaces(raw json.RawMessage) error {
	var list []string
	err := intoList(&list)(raw)
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return errors.New(`"": empty; name the pod's interfaces, or use * for every one`)
	case len(list) > 1 && slices.Contains(list, Everything):
		return errors.New(`"*": stands for every interface, so nothing may stand beside it; remove the names or the star`)
	}
	s.Interfaces = list
	return nil
}

// intoEnforced reads a list of what annotations cannot set.
func intoEnforced(to *[]string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var list []string
		if err := intoList(&list)(raw); err != nil {
			return err
		}
		known := append(fieldNames(), Inject, Everything)
		for _, name := range list {
			if !slices.Contains(known, name) {
				return fmt.Errorf("%q: not a field that annotations can set; use the field names of docs/configuration.md, inject, or *", name)
			}
		}
		*to = list
		return nil
	}
}

func (s *Settings) setTimeout(raw json.RawMessage) error {
	text, err := stringOf(raw)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < shortest || d > longest {
		return fmt.Errorf("%q: not a duration the plugin can keep to; use 100ms to 3m, such as 10s", text)
	}
	s.Timeout = d
	return nil
}

func fieldNames() []string {
	var out []string
	for _, f := range rules.Fields() {
		out = append(out, f.Name)
	}
	return out
}

func stringOf(raw json.RawMessage) (string, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || string(raw) == "null" {
		return "", fmt.Errorf("%q: not a string", raw)
	}
	return text, nil
}

// intoList reads a list the way the fields of rules.Config are written: a JSON
// array of strings, or one string with commas.
func intoList(to *[]string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var list []string
		if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("%q: not a list of strings", raw)
			}
		} else {
			text, err := stringOf(raw)
			if err != nil {
				return fmt.Errorf("%q: not a list; use an array of strings, or a string with commas", raw)
			}
			list = strings.Split(strings.TrimSuffix(strings.TrimSpace(text), ","), ",")
			if strings.TrimSpace(text) == "" {
				list = nil
			}
		}
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
			if list[i] == "" {
				return fmt.Errorf(`element %d "": empty; remove it`, i+1)
			}
		}
		*to = list
		return nil
	}
}
