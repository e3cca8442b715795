package mesh

import (
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// formerFields are names that fields once had, by message: old name, then new.
var formerFields = map[protoreflect.Name]map[string]string{
	"DestinationRule": {"name": "host"},
}

// formerField finds a field by the name it once had and says what to write now.
func (d *decoder) formerField(md protoreflect.MessageDescriptor, key *yaml.Node, path string) protoreflect.FieldDescriptor {
	name, ok := formerFields[md.Name()][key.Value]
	if !ok {
		return nil
	}
	d.add(Notice, key, join(path, key.Value), "", "deprecated name of "+join(path, name)+"; write "+name)
	d.respell("", join(path, name), join(path, key.Value))
	return md.Fields().ByJSONName(name)
}
