package mesh

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/internal/yamltext"
)

var dnsSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// serverMetadata is what `kubectl get -o yaml` adds; it is accepted and unused.
var serverMetadata = []string{
	"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink", "generateName", "deletionTimestamp", "deletionGracePeriodSeconds", "clusterName",
}

// header reads apiVersion, kind and metadata, and finds the spec. The Spec of what it returns
// is nil when the object is none of ours.
func (d *decoder) header(n *yaml.Node) (r *Resource, spec pair) {
	r = &Resource{Namespace: d.namespace, Source: Source{File: d.file, Line: d.lineOf(n)}}
	d.object = r
	fields := d.pairs(n, "")
	r.Kind, r.APIVersion = d.word(fields, "kind"), d.word(fields, "apiVersion")
	if i := find(fields, "metadata"); i >= 0 {
		d.nameFirst(d.follow(fields[i].value))
	}
	d.checkType(n, fields)
	if r.Spec == nil && r.Kind != "" {
		return r, spec // another product's object: its fields are not ours to judge
	}
	for _, f := range fields {
		switch f.key.Value {
		case "apiVersion", "kind":
		case "spec":
			spec = f
		case "status":
			d.status(f.value)
		case "metadata":
			d.metadata(f.value)
		default:
			d.add(Error, f.key, f.key.Value, "", "unknown field; "+suggest(r.Kind, "", f.key.Value, []string{"apiVersion", "kind", "metadata", "spec"}))
		}
	}
	d.checkNames(n)
	r.Source.Kind, r.Source.Namespace, r.Source.Name = r.Kind, r.Namespace, r.Name
	return r, spec
}

// word is the plain value of a field, "" when there is none.
func (d *decoder) word(fields []pair, key string) string {
	if i := find(fields, key); i >= 0 {
		if v := d.follow(fields[i].value); v != nil && v.Kind == yaml.ScalarNode && v.Tag != "!!null" {
			return v.Value
		}
	}
	return ""
}

// nameFirst reads the object's name before anything is complained about, so that
// every complaint can carry it.
func (d *decoder) nameFirst(metadata *yaml.Node) {
	if v := yamltext.Value(metadata, "name"); v != nil && v.Kind == yaml.ScalarNode && v.Tag != "!!null" {
		d.object.Name = v.Value
	}
	if v := yamltext.Value(metadata, "namespace"); v != nil && v.Kind == yaml.ScalarNode && v.Tag != "!!null" && v.Value != "" {
		d.object.Namespace = v.Value
	}
}

func (d *decoder) checkType(n *yaml.Node, fields []pair) {
	r := d.object
	at := func(key string) *yaml.Node {
		if i := find(fields, key); i >= 0 {
			return fields[i].value
		}
		return n
	}
	construct, ours := emptySpecs[r.Kind]
	switch {
	case r.Kind == "":
		d.add(Error, at("kind"), "kind", "", "is missing; use one of "+strings.Join(Kinds, ", "))
	case notFollowed(r.APIVersion, r.Kind) != "":
		d.add(Warning, at("kind"), "kind", r.Kind, "not followed: "+notFollowed(r.APIVersion, r.Kind))
	case foreignKinds[r.Kind].group != "":
		d.add(Error, at("kind"), "kind", r.Kind, "not a kind that sluice follows; only Istio's, of "+foreignKinds[r.Kind].group+", may stand beside those that it does")
	case !ours:
		d.add(Error, at("kind"), "kind", r.Kind, "not a kind that sluice follows; "+suggestKind(r.Kind))
	default:
		r.Spec = construct()
	}
	switch {
	case r.APIVersion == "":
		d.add(Error, at("apiVersion"), "apiVersion", "", "is missing; use "+cmp.Or(foreignKinds[r.Kind].group, group)+"/v1")
	case ours && !slices.Contains(apiVersions, r.APIVersion):
		d.add(Error, at("apiVersion"), "apiVersion", r.APIVersion, "not known for "+r.Kind+"; use one of "+strings.Join(apiVersions, ", "))
	}
}

// status is the server's to write. What it says of a ServiceEntry's addresses is
// worth a word, since in Istio clients would be led by them.
func (d *decoder) status(n *yaml.Node) {
	if n = d.follow(n); n == nil || n.Kind != yaml.MappingNode {
		return
	}
	row := valueRows[[3]string{d.object.Kind, statusAddresses, "any"}]
	if at := yamltext.Value(n, "addresses"); at != nil && at.Tag != "!!null" && row != nil {
		d.add(Notice, at, statusAddresses, "", row.Says+"; "+row.Instead)
	}
}

func (d *decoder) metadata(n *yaml.Node) {
	at := n
	if n = d.follow(n); n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrongShape(at, n, "metadata", "a mapping with a name")
		return
	}
	d.record("metadata", at)
	for _, p := range d.pairs(n, "metadata") {
		path := join("metadata", p.key.Value)
		d.record(path, p.value)
		switch key := p.key.Value; {
		case key == "name" || key == "namespace":
			d.plainText(p.value, path)
		case key == "labels":
			d.object.Labels = d.textMap(p.value, path)
		case key == "annotations":
			d.object.Annotations = d.textMap(p.value, path)
		case key == "finalizers":
			carry[[]string](d, p.value, key, "a list of names")
		case key == "ownerReferences":
			carry[[]map[string]any](d, p.value, key, "a list of owners")
		case !slices.Contains(serverMetadata, key):
			d.add(Error, p.key, path, "", "unknown field; "+suggest(d.object.Kind, "metadata", key, metadataFields))
		}
	}
}

// carry keeps a field of metadata that means nothing here, and something to an API server.
func carry[T any](d *decoder, at *yaml.Node, key, shape string) {
	n := d.follow(at)
	if n == nil || n.Tag == "!!null" {
		return
	}
	var value T
	err := n.Decode(&value)
	text, other := json.Marshal(value)
	if err != nil || other != nil {
		d.wrongShape(at, n, join("metadata", key), shape)
		return
	}
	if d.object.carried == nil {
		d.object.carried = map[string]json.RawMessage{}
	}
	d.object.carried[key] = text
}

// plainText reads a string outside the spec.
func (d *decoder) plainText(n *yaml.Node, path string) (string, bool) {
	at := n
	if n = d.follow(n); n == nil || n.Tag == "!!null" {
		return "", n != nil
	}
	if n.Kind != yaml.ScalarNode {
		d.wrongShape(at, n, path, "text")
		return "", false
	}
	v, complaint := d.text(n, path)
	if complaint != "" {
		d.add(Error, at, path, n.Value, complaint)
		return "", false
	}
	return v.String(), true
}

func (d *decoder) textMap(n *yaml.Node, path string) map[string]string {
	at := n
	if n = d.follow(n); n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.wrongShape(at, n, path, "a mapping (name: value)")
		return nil
	}
	out := make(map[string]string, len(n.Content)/2)
	for _, p := range d.pairs(n, path) {
		if v, ok := d.plainText(p.value, path+"["+p.key.Value+"]"); ok {
			out[p.key.Value] = v
		}
	}
	return out
}

func (d *decoder) checkNames(n *yaml.Node) {
	r := d.object
	metadata := yamltext.Value(n, "metadata")
	name, namespace := cmp.Or(yamltext.Value(metadata, "name"), n), cmp.Or(yamltext.Value(metadata, "namespace"), n)
	if r.Name == "" {
		d.add(Error, name, "metadata.name", "", "is missing; give the object a name")
	} else if complaint := NameComplaint(r.Name); complaint != "" {
		d.add(Error, name, "metadata.name", r.Name, complaint)
	}
	if complaint := NamespaceComplaint(r.Namespace); complaint != "" {
		d.add(Error, namespace, "metadata.namespace", r.Namespace, complaint)
	}
}

// NameComplaint says what is wrong with the name of an object, "" when nothing is.
func NameComplaint(name string) string {
	if len(name) <= 253 && dnsSubdomain.MatchString(name) {
		return ""
	}
	return "not a name; use at most 253 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit"
}

// Place is file:line of a setting, for messages about two of them; "" for what was not
// written.
func (s Source) Place() string {
	switch {
	case s.Kind == "" && s.File == "":
		return ""
	case s.File == "":
		return s.object()
	case s.Line == 0:
		return s.File
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}
