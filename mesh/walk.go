package mesh

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message fills m from a mapping, field by field of its descriptor, so that
// every complaint has the line where it was written.
func (d *decoder) message(m protoreflect.Message, n *yaml.Node, path string) {
	at := n
	if n = d.follow(n); n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrongShape(at, n, path, mappingOf(m.Descriptor(), n))
		return
	}
	for _, p := range d.pairs(n, path) {
		fd := d.fieldNamed(m.Descriptor(), p.key, path)
		if fd == nil {
			continue
		}
		d.field(m, fd, p, join(path, fd.JSONName()))
	}
}

func (d *decoder) fieldNamed(md protoreflect.MessageDescriptor, key *yaml.Node, path string) protoreflect.FieldDescriptor {
	fields := md.Fields()
	if fd := fields.ByJSONName(key.Value); fd != nil {
		return fd
	}
	if fd := fields.ByTextName(key.Value); fd != nil { // target_port, as protobuf spells it
		d.respell("", join(path, fd.JSONName()), key.Value)
		return fd
	}
	if fd := d.formerField(md, key, path); fd != nil {
		return fd
	}
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	d.add(Error, key, join(path, key.Value), "", "unknown field; "+suggest(d.object.Kind, path, key.Value, names))
	return nil
}

func (d *decoder) field(m protoreflect.Message, fd protoreflect.FieldDescriptor, p pair, path string) {
	value := d.follow(p.value)
	if value == nil || value.Tag == "!!null" {
		return
	}
	if m.Has(fd) {
		d.add(Error, p.key, path, "", "is there already under another spelling; keep one of them")
		return
	}
	if one := fd.ContainingOneof(); one != nil {
		if other := m.WhichOneof(one); other != nil {
			d.add(Error, p.key, path, "", fmt.Sprintf("cannot be together with %s; keep one of them", other.JSONName()))
			return
		}
	}
	switch {
	case fd.IsMap():
		d.record(path, p.key)
		d.mapping(m.Mutable(fd).Map(), fd, p.value, path)
	case fd.IsList():
		d.record(path, p.key)
		d.list(m.Mutable(fd).List(), fd, p.value, path)
	case fd.Message() != nil && !isScalarMessage(fd):
		d.record(path, p.key)
		d.message(m.Mutable(fd).Message(), p.value, path)
	default:
		d.record(path, p.value)
		if v, ok := d.scalar(fd, p.value, path); ok {
			m.Set(fd, v)
		}
	}
}

func (d *decoder) list(l protoreflect.List, fd protoreflect.FieldDescriptor, n *yaml.Node, path string) {
	at := n
	if n = d.follow(n); n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		wanted := "a list, each item after a dash (- )"
		if n.Kind == yaml.ScalarNode {
			wanted = "a list: [" + shorten(n.Value) + "]"
		}
		d.wrongShape(at, n, path, wanted)
		return
	}
	for i, item := range n.Content {
		itemPath := path + "[" + strconv.Itoa(i) + "]"
		d.record(itemPath, item)
		value := d.follow(item)
		switch {
		case value == nil:
		case value.Tag == "!!null":
			d.add(Error, item, itemPath, "", "is empty; give it a value or remove it")
		case fd.Message() != nil && !isScalarMessage(fd):
			d.message(l.AppendMutable().Message(), item, itemPath)
		default:
			if v, ok := d.scalar(fd, item, itemPath); ok {
				l.Append(v)
			}
		}
	}
}

func (d *decoder) mapping(m protoreflect.Map, fd protoreflect.FieldDescriptor, n *yaml.Node, path string) {
	at := n
	if n = d.follow(n); n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrongShape(at, n, path, "a mapping (name: value)")
		return
	}
	for _, p := range d.pairs(n, path) {
		itemPath := path + "[" + p.key.Value + "]"
		d.record(itemPath, p.key)
		key := protoreflect.ValueOfString(p.key.Value).MapKey()
		value := d.follow(p.value)
		switch {
		case value == nil:
		case value.Tag == "!!null":
			d.add(Error, p.key, itemPath, "", "is empty; give it a value or remove it")
		case fd.MapValue().Message() != nil:
			d.message(m.Mutable(key).Message(), p.value, itemPath)
		default:
			if v, ok := d.scalar(fd.MapValue(), p.value, itemPath); ok {
				m.Set(key, v)
			}
		}
	}
}

// wrongShape complains about a value of the wrong kind.
func (d *decoder) wrongShape(at, n *yaml.Node, path, wanted string) {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode:
		d.add(Error, at, path, "", "is a template ({{ }}) that nobody filled in; render it first")
	case n.Kind == yaml.MappingNode:
		d.add(Error, at, path, "", "is a mapping; write "+wanted)
	case n.Kind == yaml.SequenceNode:
		d.add(Error, at, path, "", "is a list; write "+wanted)
	default:
		d.add(Error, at, path, n.Value, "is a single value; write "+wanted)
	}
}

// mappingOf says what a mapping of a message looks like, to who wrote something else.
func mappingOf(md protoreflect.MessageDescriptor, n *yaml.Node) string {
	fields := md.Fields()
	if first := fields.Get(0); fields.Len() == 1 && n.Kind == yaml.ScalarNode && !first.IsList() && !first.IsMap() && first.Message() == nil {
		return "{" + first.JSONName() + ": " + shorten(n.Value) + "}"
	}
	var names []string
	for i := range min(fields.Len(), maxNamed) {
		names = append(names, fields.Get(i).JSONName())
	}
	if fields.Len() > maxNamed {
		names = append(names, "...")
	}
	return "a mapping (name: value) of " + strings.Join(names, ", ")
}

// maxNamed bounds the fields that a message names.
const maxNamed = 6
