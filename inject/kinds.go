package inject

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/internal/yamltext"
)

// templates are the kinds that make pods: their API group, and where their template is.
var templates = map[string]struct {
	group string
	path  []string
}{
	"Pod":                   {"", nil},
	"PodTemplate":           {"", []string{"template"}},
	"ReplicationController": {"", []string{"spec", "template"}},
	"Deployment":            {"apps", []string{"spec", "template"}},
	"DaemonSet":             {"apps", []string{"spec", "template"}},
	"StatefulSet":           {"apps", []string{"spec", "template"}},
	"ReplicaSet":            {"apps", []string{"spec", "template"}},
	"Job":                   {"batch", []string{"spec", "template"}},
	"CronJob":               {"batch", []string{"spec", "jobTemplate", "spec", "template"}},
}

// object is one that makes pods.
type object struct {
	kind, name string
	line       int        // in its document
	template   *yaml.Node // of its pods: a mapping with metadata and spec
}

// objects finds those that make pods in a document, Lists included.
func objects(n *yaml.Node) (out []object, err error) {
	_, items := yamltext.Field(n, "items")
	kind := word(n, "kind")
	if strings.HasSuffix(kind, "List") && items != nil {
		for _, item := range items.Content {
			more, err := objects(item)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	}
	known, ours := templates[kind]
	group, _, grouped := strings.Cut(word(n, "apiVersion"), "/")
	if !grouped {
		group = ""
	}
	if !ours || group != known.group {
		return nil, nil // another product's Job, say
	}
	o := object{kind: kind, name: nameOf(n), line: n.Line, template: n}
	for _, key := range known.path {
		if _, o.template = yamltext.Field(o.template, key); o.template == nil {
			return nil, nil // no pods without one; the API server says so
		}
	}
	if o.template.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s is not written out as a mapping here; write it out", strings.Join(known.path, "."))
	}
	return []object{o}, nil
}

func nameOf(n *yaml.Node) string {
	_, metadata := yamltext.Field(n, "metadata")
	return word(metadata, "name")
}

// word is the text of a mapping's scalar, "" where there is none.
func word(mapping *yaml.Node, key string) string {
	if _, v := yamltext.Field(mapping, key); v != nil && v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
		return v.Value
	}
	return ""
}
