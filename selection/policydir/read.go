package policydir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// position is where something was written.
type position struct {
	file string
	line int
}

func (p position) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// reader gathers a policy from files.
type reader struct {
	policy *selection.Policy
	at     map[string]position // of each path that was given
	wrong  []mistake
	name   string // of the file that is being read
}

// mistake is one thing that is wrong, and where.
type mistake struct {
	at   position
	text string
}

func (r *reader) complain(n *yaml.Node, format string, args ...any) {
	r.wrong = append(r.wrong, mistake{position{r.name, n.Line}, fmt.Sprintf(format, args...)})
}

// file takes in each document of a file.
func (r *reader) file(name string, data []byte) {
	r.name = name
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil { // it names the line itself
			r.wrong = append(r.wrong, mistake{position{file: name}, strings.TrimPrefix(err.Error(), "yaml: ")})
			return
		}
		if len(document.Content) > 0 && !isNull(document.Content[0]) {
			r.node(document.Content[0])
		}
	}
}

// setters are what an object of the policy may hold.
type setters map[string]func(path string, n *yaml.Node)

// node takes in what holds for the whole node.
func (r *reader) node(n *yaml.Node) { r.object("", n, r.nodeFields()) }

func (r *reader) nodeFields() setters {
	p := r.policy
	return setters{
		"exemptNamespaces": r.strings(&p.ExemptNamespaces),
		"selection":        r.text(&p.Selection),
		"defaults":         r.fields(&p.Defaults),
		"enforce":          r.strings(&p.Enforce),
		"onInvalid":        r.text(&p.OnInvalid),
		"outboundPolicy":   r.text(&p.OutboundPolicy),
		"namespaces":       r.namespaces,
	}
}

func (r *reader) namespaceFields(of *selection.NamespacePolicy) setters {
	return setters{
		"select":         r.choice(&of.Select),
		"defaults":       r.fields(&of.Defaults),
		"enforce":        r.strings(&of.Enforce),
		"onInvalid":      r.text(&of.OnInvalid),
		"outboundPolicy": r.text(&of.OutboundPolicy),
	}
}

func (r *reader) namespaces(path string, n *yaml.Node) {
	if r.policy.Namespaces == nil {
		r.policy.Namespaces = map[string]selection.NamespacePolicy{}
	}
	r.members(path, n, func(name string, key, value *yaml.Node) {
		path := path + "." + name
		if !r.once(path, key) {
			return
		}
		var of selection.NamespacePolicy
		r.object(path+".", value, r.namespaceFields(&of))
		r.policy.Namespaces[name] = of
	})
}

// object gives each member to its setter, and names those that have none.
func (r *reader) object(prefix string, n *yaml.Node, known setters) {
	r.members(strings.TrimSuffix(prefix, "."), n, func(name string, _, value *yaml.Node) {
		set, found := known[name]
		if !found {
			r.complain(value, "%s%s: unknown field; remove it or use one of %s%s", prefix, name,
				strings.Join(slices.Sorted(maps.Keys(known)), ", "), didYouMean(name, known))
			return
		}
		set(prefix+name, value)
	})
}

func didYouMean(name string, known setters) string {
	for candidate := range known {
		if strings.EqualFold(candidate, name) || strings.EqualFold(candidate, name+"s") || strings.EqualFold(candidate+"s", name) {
			return "; did you mean " + candidate
		}
	}
	for _, f := range rules.Fields() {
		if strings.EqualFold(f.Name, name) {
			return "; fields of the interception belong in defaults"
		}
	}
	return ""
}

// members walks over a mapping. A key that comes twice is an error: which of the two
// counts would be a matter of luck.
func (r *reader) members(path string, n *yaml.Node, each func(name string, key, value *yaml.Node)) {
	n = resolved(n)
	if n.Kind != yaml.MappingNode {
		r.complain(n, "%snot a mapping; write fields with their values", label(path))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch line := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			r.complain(key, "%sa key that is no name", label(path))
		case line > 0:
			r.complain(key, "%s%s: given twice, in line %d too; remove one", label(path), key.Value, line)
		default:
			seen[key.Value] = key.Line
			each(key.Value, key, value)
		}
	}
}

func label(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// once refuses what another file gave already.
func (r *reader) once(path string, n *yaml.Node) bool {
	if before, twice := r.at[path]; twice {
		r.complain(n, "%s: given in %s too; remove one", path, before)
		return false
	}
	r.at[path] = position{r.name, n.Line}
	return true
}

func (r *reader) text(to *string) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		if n = resolved(n); n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "" {
			r.complain(n, "%s: not a word; write one as text", path)
		} else if r.once(path, n) {
			*to = n.Value
		}
	}
}

func (r *reader) choice(to **bool) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		var b bool
		if n = resolved(n); n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(&b) != nil {
			r.complain(n, "%s %q: not a boolean; use true or false", path, n.Value)
		} else if r.once(path, n) {
			*to = &b
		}
	}
}

// strings adds to a list: what several files exempt or enforce is united.
func (r *reader) strings(to *[]string) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		if n = resolved(n); n.Kind != yaml.SequenceNode {
			r.complain(n, "%s: not a list; write [a, b]", path)
			return
		}
		for i, item := range n.Content {
			if item = resolved(item); item.Kind != yaml.ScalarNode || item.Tag != "!!str" || item.Value == "" {
				r.complain(item, "%s[%d] %q: not text; write a name, in quotes if need be", path, i, item.Value)
				continue
			}
			if slices.Contains(*to, item.Value) {
				continue
			}
			r.at[fmt.Sprintf("%s[%d]", path, len(*to))] = position{r.name, item.Line}
			*to = append(*to, item.Value)
		}
		r.at[path] = position{r.name, n.Line}
	}
}

// fields takes fields of rules.Config in, as JSON; what they mean is judged later.
func (r *reader) fields(to *map[string]json.RawMessage) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		if *to == nil {
			*to = map[string]json.RawMessage{}
		}
		r.members(path, n, func(name string, _, value *yaml.Node) {
			raw, err := fieldValue(resolved(value))
			if err != nil {
				r.complain(value, "%s.%s: %v", path, name, err)
			} else if r.once(path+"."+name, value) {
				(*to)[name] = raw
			}
		})
	}
}

// fieldValue is a scalar or a flat list as JSON. Numbers keep the form they were written
// in: a mark may be 0x539.
func fieldValue(n *yaml.Node) (json.RawMessage, error) {
	switch {
	case n.Kind == yaml.SequenceNode:
		out := []string{}
		for i, item := range n.Content {
			if item = resolved(item); item.Kind != yaml.ScalarNode || isNull(item) || item.Tag == "!!bool" {
				return nil, fmt.Errorf("element %d: not text and not a number", i+1)
			}
			out = append(out, item.Value)
		}
		return json.Marshal(out)
	case n.Kind != yaml.ScalarNode:
		return nil, errors.New("a mapping; use a value or a list")
	case isNull(n):
		return nil, errors.New(`no value; write "" for an empty list, or remove the field`)
	case n.Tag == "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return nil, err
		}
		return json.Marshal(b)
	}
	return json.Marshal(n.Value)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// resolved follows an alias. Values are flat, so that no chain of them grows.
func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}
