package file

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/internal/yamltext"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// withNamespace writes the stream's namespace into the objects that name none, so
// that they mean in the directory what they mean now. Nothing else is touched.
func withNamespace(in manifest.Stream) ([]byte, error) {
	if in.Namespace == "" || in.Namespace == "default" {
		return in.Data, nil
	}
	out := slices.Clone(in.Data)
	objects := mesh.Locate(in.Name, in.Data, mesh.DecodeOptions{Namespace: in.Namespace})
	for _, o := range slices.Backward(objects) {
		var root yaml.Node
		if err := yaml.Unmarshal(in.Data[o.Extent.Start:o.Extent.End], &root); err != nil {
			return nil, err
		}
		object := root.Content[0]
		if o.Extent.Item >= 0 {
			object = itemsOf(&root).Content[o.Extent.Item]
		}
		_, metadata := yamltext.Field(object, "metadata")
		if metadata == nil || metadata.Kind != yaml.MappingNode || len(metadata.Content) == 0 {
			return nil, fmt.Errorf("%s: its metadata has no place for a namespace; write metadata.namespace", o.Identity)
		}
		if yamltext.Value(metadata, "namespace") != nil {
			continue
		}
		first := metadata.Content[0]
		at := o.Extent.Start + yamltext.Offset(in.Data[o.Extent.Start:o.Extent.End], first.Line, first.Column)
		text, err := namespaceText(metadata, in.Namespace)
		if err != nil {
			return nil, err
		}
		out = slices.Insert(out, at, []byte(text)...)
	}
	if err := sameMeaning(in, out); err != nil {
		return nil, err
	}
	return out, nil
}

// namespaceText is what to put before the first field of metadata, written as
// that field is. Quotes stand in JSON, and where YAML needs them: 123 is a number.
func namespaceText(metadata *yaml.Node, namespace string) (string, error) {
	first := metadata.Content[0]
	flow := metadata.Style&yaml.FlowStyle != 0
	if flow && first.Style&yaml.DoubleQuotedStyle != 0 {
		return fmt.Sprintf("%q: %q, ", "namespace", namespace), nil
	}
	line, err := yaml.Marshal(map[string]string{"namespace": namespace})
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(line))
	if flow {
		return text + ", ", nil
	}
	return fmt.Sprintf("%s\n%*s", text, first.Column-1, ""), nil
}

// sameMeaning makes sure that every object is in its namespace now.
func sameMeaning(in manifest.Stream, out []byte) error {
	was := mesh.Locate(in.Name, in.Data, mesh.DecodeOptions{Namespace: in.Namespace})
	is := mesh.Locate(in.Name, out, mesh.DecodeOptions{})
	if !slices.EqualFunc(was, is, func(a, b mesh.Located) bool { return a.Identity == b.Identity }) {
		return errors.New(in.Name + ": the namespace cannot be written into it; write metadata.namespace")
	}
	return nil
}
