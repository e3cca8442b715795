package inject

import (
	"cmp"
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
	template   *yaml.Node // of its pods: a mapping with metadata and spec; nil of a kind that nobody here knows
}

// objects finds those that make pods in a document, Lists included.
func objects(n *yaml.Node) []object { return objectsOf(n, "", "") }

// objectsOf takes apiVersion and kind for those of an object that has none: in the list of a
// kind, as the API server gives it, its items leave them out.
func objectsOf(n *yaml.Node, apiVersion, kind string) (out []object) {
	n = yamltext.Follow(n)
	apiVersion, kind = cmp.Or(word(n, "apiVersion"), apiVersion), cmp.Or(word(n, "kind"), kind)
	if of, list := strings.CutSuffix(kind, "List"); list {
		if items := yamltext.Value(n, "items"); items != nil && items.Kind == yaml.SequenceNode {
			for _, item := range items.Content {
				out = append(out, objectsOf(item, apiVersion, of)...)
			}
		}
		return out
	}
	known, ours := templates[kind]
	group, _, grouped := strings.Cut(apiVersion, "/")
	switch {
	case !grouped:
		group = ""
	case group == "extensions": // until Kubernetes 1.16, and in Istio's samples of that time
		group = "apps"
	}
	o := object{kind: kind, name: word(yamltext.Value(n, "metadata"), "name"), line: n.Line}
	if !ours || group != known.group { // another product's Job, say
		if below(n, "spec", "template", "spec", "containers") == nil {
			return nil
		}
		return []object{o}
	}
	if o.template = below(n, known.path...); o.template == nil {
		return nil // no pods without one; the API server says so
	}
	return []object{o}
}

// below is what stands at a path, nil where nothing does.
func below(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if n = yamltext.Value(n, key); n == nil {
			return nil
		}
	}
	return n
}

// word is the text of a mapping's scalar, "" where there is none.
func word(mapping *yaml.Node, key string) string {
	if v := yamltext.Value(mapping, key); v != nil && v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
		return v.Value
	}
	return ""
}
