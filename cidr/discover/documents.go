package discover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// documents reads YAML, of which JSON is a part. What is neither yields nothing.
func (r *reader) documents(text []byte) {
	if json.Valid(text) {
		// YAML takes no tabs for indentation; in valid JSON one can be nothing else.
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		if err := d.Decode(&doc); err != nil {
			if !errors.Is(err, io.EOF) {
				r.broken(text, err)
			}
			return
		}
		for _, n := range doc.Content {
			r.value(n, "", "", 0)
		}
	}
}

// broken tells a YAML file with a mistake from text that only began like one.
func (r *reader) broken(text []byte, err error) {
	if bytes.Contains(text, []byte("apiVersion:")) {
		r.problems = append(r.problems, fmt.Errorf("%s: not valid YAML: %s", r.name, strings.TrimPrefix(err.Error(), "yaml: ")))
		return
	}
	r.findings, r.problems = nil, nil
}

// depth bounds recursion; no description of a cluster is that deep.
const depth = 100

// value walks a value; kind is that of the nearest enclosing object.
func (r *reader) value(n *yaml.Node, kind, path string, level int) {
	if level > depth {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		r.mapping(n, kind, path, level)
	case yaml.SequenceNode:
		r.sequence(n, kind, path, level)
	}
}

func (r *reader) mapping(n *yaml.Node, kind, path string, level int) {
	if k := text(n, "kind"); k != "" && (text(n, "apiVersion") != "" || path == "" && field(n, "metadata") != nil) {
		outer := r.object
		defer func() { r.object = outer }()
		kind, path, r.object = k, "", nameOf(n, k)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i].Value, n.Content[i+1]
		at := join(path, key)
		switch {
		case key == "items" && strings.HasSuffix(kind, "List"):
			r.items(v, strings.TrimSuffix(kind, "List"), level)
		case plurals[key] != "" && field(n, plurals[key]) != nil:
		case r.setting(kind, key, v, at):
		case kind == "ConfigMap" && key == "data":
			r.files(v, level)
		case kind == "Node" && key == "addresses":
			r.addresses(v, at)
		default:
			r.value(v, kind, at, level+1)
		}
	}
	// kubeadm's extraArgs since v1beta4: {name: cluster-cidr, value: 10.0.0.0/8}.
	if m, known := flags[text(n, "name")]; known && field(n, "value") != nil {
		v := field(n, "value")
		r.add(v.Value, m, r.at(v.Line, join(path, text(n, "name"))))
	}
}

// setting reads a name that means a range; false if it is none.
func (r *reader) setting(kind, key string, v *yaml.Node, at string) bool {
	m, known := settingsOf[kind][key]
	if !known {
		m, known = settings[key]
	}
	if !known { // kubeadm's extraArgs and the k3s configuration name flags
		m, known = flags[strings.TrimLeft(key, "-")]
	}
	if !known {
		return false
	}
	switch v.Kind {
	case yaml.ScalarNode:
		if v.Tag != "!!null" {
			r.add(v.Value, m, r.at(v.Line, at))
		}
	case yaml.SequenceNode:
		for i, e := range v.Content {
			r.add(e.Value, m, r.at(e.Line, fmt.Sprintf("%s[%d]", at, i)))
		}
	default:
		return false
	}
	return true
}

// sequence walks a list. One of strings may be a command line.
func (r *reader) sequence(n *yaml.Node, kind, path string, level int) {
	var argv []word
	for i, e := range n.Content {
		r.value(e, kind, fmt.Sprintf("%s[%d]", path, i), level+1)
		if e.Kind != yaml.ScalarNode {
			continue
		}
		for w := range strings.FieldsSeq(e.Value) {
			argv = append(argv, word{w, e.Line})
		}
	}
	r.argv(argv)
}

// items walks a list's objects, which an API server gives out without their kind.
func (r *reader) items(n *yaml.Node, kind string, level int) {
	outer := r.object
	defer func() { r.object = outer }()
	for i, e := range n.Content {
		r.object = ""
		switch {
		case text(e, "kind") != "":
			r.value(e, "", "", level+1)
		case kind != "":
			r.object = nameOf(e, kind)
			r.value(e, kind, "", level+1)
		default:
			r.value(e, "", fmt.Sprintf("items[%d]", i), level+1)
		}
	}
}

// files reads the texts of a ConfigMap as inputs of their own.
func (r *reader) files(n *yaml.Node, level int) {
	for i := 0; i+1 < len(n.Content) && level < depth; i += 2 {
		v := n.Content[i+1]
		inner := &reader{name: r.name, within: r.object + " data." + n.Content[i].Value, above: r.above + v.Line}
		if v.Style&yaml.LiteralStyle == 0 {
			inner.above, inner.fixed = r.at(v.Line, "").Line-1, true
		}
		inner.documents([]byte(v.Value))
		r.findings, r.problems = append(r.findings, inner.findings...), append(r.problems, inner.problems...)
	}
}

// addresses reads a Node's addresses: those that other nodes reach it at.
func (r *reader) addresses(n *yaml.Node, path string) {
	for i, e := range n.Content {
		if v := field(e, "address"); v != nil && text(e, "type") == "InternalIP" {
			r.add(v.Value, meaning{Nodes, formNode}, r.at(v.Line, fmt.Sprintf("%s[%d]", path, i)))
		}
	}
}

// nameOf is how people call an object.
func nameOf(n *yaml.Node, kind string) string {
	meta := field(n, "metadata")
	name, ns := text(meta, "name"), text(meta, "namespace")
	if ns != "" {
		name = ns + "/" + name
	}
	return strings.TrimSpace(kind + " " + name)
}

// field is a mapping's value for a key, nil for none.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node, key string) string {
	if v := field(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
