package mesh

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"
)

// Normal is a resource in the spelling that Istio's CustomResourceDefinitions know today,
// as JSON with its keys in order, and what of it is spelled otherwise than it was written:
// fields by their present names in camelCase, enums and protocols in capitals, numbers as
// numbers. What has its default is there if it was written, and a ServiceEntry's resolution
// always. Of metadata it has what people write; what an API server adds is left out.
func Normal(r *Resource) ([]byte, []string) {
	metadata := map[string]any{"name": r.Name, "namespace": r.Namespace}
	if len(r.Labels) > 0 {
		metadata["labels"] = r.Labels
	}
	if len(r.Annotations) > 0 {
		metadata["annotations"] = r.Annotations
	}
	for key, value := range r.carried {
		metadata[key] = value
	}
	n := normalizer{r, slices.Clone(r.respelled)}
	spec, _ := below(r.document(), "spec").(map[string]any)
	n.message(r.Spec.ProtoReflect().Descriptor(), spec, "spec")
	if entry, ok := r.Spec.(*networking.ServiceEntry); ok && !r.has("spec.resolution") && entry.Resolution == networking.ServiceEntry_NONE {
		n.changed = append(n.changed, "spec.resolution NONE, which was left out")
		spec["resolution"] = "NONE"
	}
	text, err := json.Marshal(map[string]any{"apiVersion": r.APIVersion, "kind": r.Kind, "metadata": metadata, "spec": spec})
	if err != nil {
		panic(fmt.Sprintf("%s: %v", r.Identity(), err)) // strings, numbers, lists and maps of them
	}
	return text, n.changed
}

// respell remembers that a field is written otherwise than it is called today.
func (d *decoder) respell(path, now, written string) {
	if d.object != nil && now != written {
		d.object.respelled = append(d.object.respelled, strings.TrimSpace(path+" "+now)+" for "+written)
	}
}

type normalizer struct {
	r       *Resource
	changed []string
}

// message corrects what protobuf's JSON and the definitions do not have alike, in place.
func (n *normalizer) message(md protoreflect.MessageDescriptor, m map[string]any, path string) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		name := fd.JSONName()
		at := join(path, name)
		value, there := m[name]
		if !there && n.r.has(at) && fd.Cardinality() != protoreflect.Repeated {
			value, there = written(fd)
		}
		if !there {
			continue
		}
		m[name] = value
		switch kind := fd.Kind(); {
		case kind == protoreflect.MessageKind && !isScalarMessage(fd):
			n.within(fd, value, at)
		case kind == protoreflect.Uint64Kind || kind == protoreflect.Int64Kind:
			if text, ok := value.(string); ok { // protobuf's JSON; the definitions have integers
				m[name] = json.Number(text)
			}
		case name == "protocol" && kind == protoreflect.StringKind:
			written, _ := value.(string)
			if upper := strings.ToUpper(written); upper != written {
				m[name] = upper
				n.changed = append(n.changed, at+" "+upper+" for "+written)
			}
		}
	}
}

// written is how a field's default is written, which protobuf's JSON leaves out; false: no
// field that has one.
func written(fd protoreflect.FieldDescriptor) (any, bool) {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return nil, false
	case protoreflect.EnumKind:
		return string(fd.Enum().Values().ByNumber(fd.Default().Enum()).Name()), true
	}
	return fd.Default().Interface(), true
}

// within goes into a field's messages: one, a list, or the values of a map.
func (n *normalizer) within(fd protoreflect.FieldDescriptor, value any, path string) {
	md := fd.Message()
	if fd.IsMap() {
		if md = fd.MapValue().Message(); md == nil {
			return
		}
		all, _ := value.(map[string]any)
		for key, one := range all {
			if m, ok := one.(map[string]any); ok {
				n.message(md, m, path+"["+key+"]")
			}
		}
		return
	}
	switch value := value.(type) {
	case map[string]any:
		n.message(md, value, path)
	case []any:
		for i, one := range value {
			if m, ok := one.(map[string]any); ok {
				n.message(md, m, at(path, i))
			}
		}
	}
}
