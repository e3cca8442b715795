package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/rules"
)

// settings are the configuration's keys that are the plugin's own, beside the
// fields of rules.Config: which pods and interfaces it acts for, and what a pod's
// annotations may not change. docs/cni.md describes them.
type settings struct {
	selection         string
	excludeNamespaces []string
	interfaces        []string
	enforce           []string
	timeout           time.Duration
	rangesFile        string

	broken []string // keys whose values could not be read
}

const (
	keySelection         = "selection"
	keyExcludeNamespaces = "excludeNamespaces"
	keyInterfaces        = "interfaces"
	keyEnforce           = "enforce"
	keyTimeout           = "timeout"
	keyRangesFile        = "rangesFile"

	selectAll       = "all"       // every pod but those that opt out
	selectAnnotated = "annotated" // only pods that opt in

	// defaultInterface is what Kubernetes' runtimes call the interface of a pod that
	// they make themselves; Multus calls the others net1, net2, ...
	defaultInterface = "eth0"

	defaultTimeout = 10 * time.Second
	shortest       = 100 * time.Millisecond
	longest        = 3 * time.Minute // runtimes give up after about four
)

func ownKeys() []string {
	return []string{keySelection, keyExcludeNamespaces, keyInterfaces, keyEnforce, keyTimeout, keyRangesFile}
}

// readSettings reads what it can. A key that cannot be read keeps its default and
// is named in broken.
func readSettings(object map[string]json.RawMessage) (settings, error) {
	s := settings{selection: selectAll, interfaces: []string{defaultInterface}, timeout: defaultTimeout, rangesFile: rangesfile.DefaultPath}
	parsers := map[string]func(json.RawMessage) error{
		keySelection:         s.setSelection,
		keyExcludeNamespaces: intoList(&s.excludeNamespaces),
		keyInterfaces:        s.setInterfaces,
		keyEnforce:           s.setEnforce,
		keyTimeout:           s.setTimeout,
		keyRangesFile:        s.setRangesFile,
	}
	var errs []error
	for _, key := range ownKeys() {
		raw, given := object[key]
		if !given {
			continue
		}
		if err := parsers[key](raw); err != nil {
			s.broken = append(s.broken, key)
			errs = append(errs, fmt.Errorf("%s %w", key, err))
		}
	}
	if s.selection == selectAnnotated && slices.Contains(s.enforce, optionInject) {
		errs = append(errs, fmt.Errorf(`enforce "inject": selection is annotated, so no pod could be captured at all; remove it or set selection to all`))
	}
	return s, errors.Join(errs...)
}

func (s *settings) setSelection(raw json.RawMessage) error {
	text, err := stringOf(raw)
	if err == nil && text != selectAll && text != selectAnnotated {
		err = fmt.Errorf("%q: not a known value; use all or annotated", text)
	}
	if err == nil {
		s.selection = text
	}
	return err
}

func (s *settings) setInterfaces(raw json.RawMessage) error {
	var list []string
	err := intoList(&list)(raw)
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return errors.New(`"": empty; name the pod's interfaces, or use * for every one`)
	case len(list) > 1 && slices.Contains(list, everything):
		return errors.New(`"*": stands for every interface, so nothing may stand beside it; remove the names or the star`)
	}
	s.interfaces = list
	return nil
}

func (s *settings) setEnforce(raw json.RawMessage) error {
	var list []string
	if err := intoList(&list)(raw); err != nil {
		return err
	}
	known := append(fieldNames(), optionInject, everything)
	for _, name := range list {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q: not a field that annotations can set; use the field names of docs/configuration.md, inject, or *", name)
		}
	}
	s.enforce = list
	return nil
}

func (s *settings) setTimeout(raw json.RawMessage) error {
	text, err := stringOf(raw)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < shortest || d > longest {
		return fmt.Errorf("%q: not a duration the plugin can keep to; use 100ms to 3m, such as 10s", text)
	}
	s.timeout = d
	return nil
}

// enforces reports whether a pod's annotations may not set the field.
func (s settings) enforces(field string) bool {
	return slices.Contains(s.enforce, field) || slices.Contains(s.enforce, everything)
}

// everything is the star of lists.
const everything = "*"

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
