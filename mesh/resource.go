// Package mesh turns Istio's networking resources into an immutable Snapshot
// that says what may leave a workload and how.
//
// Decode makes Resources of bytes and says what is wrong with them, Build makes
// a Snapshot of Resources, View shows it as one workload sees it:
//
//	resources, issues := mesh.Decode("x.yaml", data, mesh.DecodeOptions{})
//	snapshot, more := mesh.Build(resources, mesh.Options{})
//	view := snapshot.View(mesh.Workload{Namespace: "default"})
//
// It reads bytes and answers questions; it opens no file and no socket. Sources
// (mesh/file) bring the bytes, proxy asks the questions.
package mesh

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unique"

	"google.golang.org/protobuf/proto"
)

// Resource is one decoded object. Its identity is Kind, Namespace and Name.
// It is never changed once decoded.
type Resource struct {
	APIVersion, Kind, Namespace, Name string
	Labels, Annotations               map[string]string
	Spec                              proto.Message
	Source                            Source
	Extent                            Extent

	fields    []fieldPosition
	respelled []string                   // see Normal
	carried   map[string]json.RawMessage // of metadata, for an API server: finalizers and ownerReferences
}

// Extent is where an object stands in the bytes it was decoded from.
type Extent struct {
	// Start and End delimit its document, with the "---" line that opens it.
	Start, End int
	// Item counts the objects of a List from 0; it is -1 for an object that is
	// the whole document.
	Item int
}

// Same says whether two resources are one and the same, written at the same place.
func (r *Resource) Same(other *Resource) bool {
	return r.Identity() == other.Identity() && r.APIVersion == other.APIVersion && r.Source == other.Source &&
		maps.Equal(r.Labels, other.Labels) && maps.Equal(r.Annotations, other.Annotations) &&
		slices.Equal(r.fields, other.fields) && proto.Equal(r.Spec, other.Spec)
}

// Identity is what makes two objects the same one.
type Identity struct{ Kind, Namespace, Name string }

// String is Kind namespace/name.
func (id Identity) String() string { return id.Kind + " " + id.Namespace + "/" + id.Name }

// Identity of the resource.
func (r *Resource) Identity() Identity { return Identity{r.Kind, r.Namespace, r.Name} }

// fieldPosition is where a field was written.
type fieldPosition struct {
	path         unique.Handle[string] // thousands of resources have the same ones
	line, column int32
}

// position finds a field, or the nearest one around it that was written.
func (r *Resource) position(path string) (line, column int) {
	for ; path != ""; path = parentPath(path) {
		if i, ok := r.find(path); ok {
			return int(r.fields[i].line), int(r.fields[i].column)
		}
	}
	return r.Source.Line, min(r.Source.Line, 1)
}

// line is where a field was written.
func (r *Resource) line(path string) int {
	line, _ := r.position(path)
	return line
}

// has says whether a field was written at all.
func (r *Resource) has(path string) bool {
	_, ok := r.find(path)
	return ok
}

// find relies on the order in which the decoder leaves the fields.
func (r *Resource) find(path string) (int, bool) {
	return slices.BinarySearchFunc(r.fields, path, func(f fieldPosition, path string) int {
		return strings.Compare(f.path.Value(), path)
	})
}

// parentPath takes the last segment off: spec.ports[0] is inside spec.ports.
func parentPath(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// Issue makes an issue about a field of the resource.
func (r *Resource) Issue(s Severity, field, value, message string) Issue {
	line, column := r.position(field)
	return Issue{
		Severity: s, File: r.Source.File, Line: line, Column: column,
		Kind: r.Kind, Namespace: r.Namespace, Name: r.Name,
		Field: field, Value: value, Message: message,
	}
}
