package mesh

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
)

// Setting is a field as it is written.
type Setting struct {
	Name  string // the field's own: timeout
	Value string // JSON, without what has its default
	// Idle are the fields within, or "" the whole, that have no effect (Reported).
	Idle   []string
	Source Source
}

// String is the field and its value, and what of it has no effect.
func (s Setting) String() string {
	text := s.Name + ": " + strings.Trim(s.Value, `"`)
	switch {
	case len(s.Idle) == 1 && s.Idle[0] == "":
		text += " (has no effect)"
	case len(s.Idle) > 0:
		text += " (no effect: " + strings.Join(s.Idle, ", ") + ")"
	}
	return text
}

// RuleSettings lists what the rule of an HTTP route says besides its matches and where
// it leads. A route without rules says nothing.
func (v *View) RuleSettings(r *HTTPRoute) []Setting {
	resource := v.snapshot.resource(r.Source)
	if resource == nil || r.Source.Field == "" {
		return nil
	}
	spec := resource.document()
	out := resource.settings(spec, r.Source.Field, "name", "match", "route")
	routes, _ := below(spec, r.Source.Field+".route").([]any)
	for i := range routes {
		for _, s := range resource.settings(spec, at(r.Source.Field+".route", i), "destination", "weight") {
			s.Name = at("route", i) + "." + s.Name
			out = append(out, s)
		}
	}
	return out
}

// PolicySettings lists what DestinationRules say about a cluster's connections: the
// subset's, where it says anything, in place of the rule's, setting by setting.
func (v *View) PolicySettings(c *Cluster) (out []Setting) {
	r := v.snapshot.resource(c.PolicySrc)
	if r == nil {
		return nil
	}
	spec := r.document()
	own, replaces := "", false
	if c.PolicySrc.Field != "" {
		own, replaces = policyOn(spec, c.PolicySrc.Field+".trafficPolicy", c.Port)
		out = r.settings(spec, own, notPolicy...)
	}
	host, _ := policyOn(spec, "spec.trafficPolicy", c.Port)
	for _, s := range r.settings(spec, host, notPolicy...) {
		taken := slices.ContainsFunc(out, func(o Setting) bool { return o.Name == s.Name })
		if !taken && !(replaces && slices.Contains(ofPorts, s.Name)) {
			out = append(out, s)
		}
	}
	return out
}

// notPolicy are fields of a policy that are no settings of connections.
var notPolicy = []string{"portLevelSettings", "port"}

// ofPorts are the settings that port-level settings replace though they leave them out.
var ofPorts = []string{"connectionPool", "loadBalancer", "outlierDetection", "tls"}

// policyOn is where a policy speaks about a port: its port-level settings for that port
// replace all the rest.
func policyOn(spec any, policy string, port uint16) (path string, replaces bool) {
	all, _ := below(spec, policy+".portLevelSettings").([]any)
	for i, one := range all {
		if number, ok := below(one, "port.number").(float64); ok && number == float64(port) {
			return at(policy+".portLevelSettings", i), true
		}
	}
	return policy, false
}

// ServiceAt is the line of a ServiceEntry's port.
func (v *View) ServiceAt(c *Cluster) Source {
	r := v.snapshot.resource(c.Source)
	if r == nil {
		return c.Source
	}
	ports, _ := below(r.document(), "spec.ports").([]any)
	for i, p := range ports {
		if number, ok := below(p, "number").(float64); ok && number == float64(c.Port) {
			return r.sourceAt(at("spec.ports", i))
		}
	}
	return c.Source
}

// document is the resource as JSON has it.
func (r *Resource) document() any {
	text, err := protojson.Marshal(r.Spec)
	var spec any
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err != nil {
		return nil // what was decoded can be encoded
	}
	return map[string]any{"spec": spec}
}

// settings lists the fields of an object in the order of their lines.
func (r *Resource) settings(spec any, path string, without ...string) []Setting {
	object, _ := below(spec, path).(map[string]any)
	var out []Setting
	for name, value := range object {
		if slices.Contains(without, name) {
			continue
		}
		if name == "headers" {
			value = namesOnly(value)
		}
		text, err := json.Marshal(value)
		if err != nil {
			continue
		}
		field := path + "." + name
		out = append(out, Setting{Name: name, Value: string(text), Idle: r.idle(field), Source: r.sourceAt(field)})
	}
	slices.SortFunc(out, func(a, b Setting) int {
		return cmp.Or(cmp.Compare(a.Source.Line, b.Source.Line), strings.Compare(a.Name, b.Name))
	})
	return out
}

// namesOnly shows which fields of a head are changed, not to what: that may be a secret.
func namesOnly(value any) any {
	object, ok := value.(map[string]any)
	if !ok {
		return value
	}
	out := make(map[string]any, len(object))
	for name, inner := range object {
		if fields, ok := inner.(map[string]any); ok && (name == "set" || name == "add") {
			out[name] = slices.Sorted(maps.Keys(fields))
		} else {
			out[name] = namesOnly(inner)
		}
	}
	return out
}

// idle lists the outermost fields within a field that have no effect.
func (r *Resource) idle(field string) (out []string) {
	told := ""
	for _, f := range r.fields {
		path := f.path.Value()
		if path != field && !inside(path, field) || told != "" && inside(path, told) {
			continue
		}
		if row := supported[r.Kind][general(path)]; row != nil && row.Stance == Reported {
			told = path
			out = append(out, strings.TrimPrefix(strings.TrimPrefix(path, field), "."))
		}
	}
	return out
}

// below walks down a path such as spec.http[0].route; nil where there is nothing.
func below(value any, path string) any {
	for segment := range strings.SplitSeq(path, ".") {
		name, index, listed := strings.Cut(strings.TrimSuffix(segment, "]"), "[")
		object, _ := value.(map[string]any)
		value = object[name]
		if listed {
			all, _ := value.([]any)
			i, err := strconv.Atoi(index)
			if err != nil || i >= len(all) {
				return nil
			}
			value = all[i]
		}
	}
	return value
}
