package inject

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/internal/prefixed"
	"github.com/sluice-cni/sluice/internal/yamltext"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/rules"
)

// Options say what pods get.
type Options struct {
	// Fields are values for fields of rules.Fields, by name, as text. Others keep what the
	// pod's annotations say.
	Fields map[string]string
	// Sidecar is the proxy of pods that have one of their own; nil where an agent serves
	// the node.
	Sidecar *Sidecar
}

// Check says what is wrong with the values, of all fields at once.
func (o Options) Check() error {
	scratch := rules.Default()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(o.Fields)) {
		_, err := scratch.Set(name, o.Fields[name])
		errs = append(errs, err)
	}
	if s := o.Sidecar; s != nil && strings.ContainsAny(s.Image, " \t\r\n") {
		errs = append(errs, fmt.Errorf("image %q: has a space; name one image", s.Image))
	}
	if s := o.Sidecar; s != nil && s.ConfigMap != "" && mesh.NameComplaint(s.ConfigMap) != "" {
		errs = append(errs, fmt.Errorf("ConfigMap %q: %s", s.ConfigMap, mesh.NameComplaint(s.ConfigMap)))
	}
	return errors.Join(errs...)
}

// Result is what became of a stream.
type Result struct {
	Text  []byte
	Pods  int      // pods and templates of pods that were found
	Notes []string // what was left alone, and what is worth a warning, each with its place
}

// Inject gives a stream of YAML documents, or a JSON object, with what its pods get. name is
// how messages call it. What is injected twice is as if it were injected once. All errors
// come at once, and then there is no text.
func Inject(name string, data []byte, o Options) (Result, error) {
	var out Result
	var errs []error
	done := 0
	for _, d := range yamltext.Documents(data) {
		text, err := o.document(&out, name, data[d.Start:d.End], d.Line)
		errs = append(errs, err)
		out.Text = append(append(out.Text, data[done:d.Start]...), text...)
		done = d.End
	}
	if err := errors.Join(errs...); err != nil {
		return Result{}, err
	}
	out.Text = append(out.Text, data[done:]...)
	return out, nil
}

// document gives a document's text with what its pods get. line is that of its beginning.
func (o Options) document(out *Result, name string, text []byte, line int) ([]byte, error) {
	root, err := parse(text)
	if err != nil || root == nil {
		return text, prefixed.Each(fmt.Sprintf("%s:%d: ", name, line), err)
	}
	found, shared := objects(root), yamltext.Shared(root)
	changes := yamltext.Change(text)
	var errs []error
	for _, f := range found {
		place := fmt.Sprintf("%s:%d: %s/%s: ", name, line-1+f.line, f.kind, f.name)
		value, notes, err := o.of(f)
		if err == nil && value != nil {
			err = f.merge(changes, shared, value)
		}
		errs = append(errs, prefixed.Each(place, err))
		for _, note := range notes {
			out.Notes = append(out.Notes, place+note)
		}
	}
	out.Pods += len(found)
	if err := errors.Join(errs...); err != nil || changes.None() {
		return text, err
	}
	changed := changes.Text()
	if is, err := parse(changed); err != nil || !yamltext.Same(is, root) { // and so a second time changes nothing
		return text, fmt.Errorf("%s:%d: is written in a way that cannot be changed in its place; write it with one key in a line, as kubectl -o yaml does", name, line)
	}
	return changed, nil
}

func (f object) merge(changes *yamltext.Changes, shared map[*yaml.Node]bool, value *yaml.Node) error {
	if shared[f.template] {
		return errors.New("its pods' template is a YAML anchor or alias, or within one, and would change elsewhere too; write out what it stands for")
	}
	return changes.Merge(f.template, value)
}

// parse reads one document, nil for one without content.
func parse(text []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, notYAML(err)
	}
	if err := d.Decode(&more); err == nil || !errors.Is(err, io.EOF) {
		return nil, errors.New("has something behind its end; put --- between two objects")
	}
	if err := root.Decode(new(any)); err != nil { // a key that stands twice
		return nil, notYAML(err)
	}
	return root.Content[0], ambiguous(root.Content[0])
}

// ambiguous refuses what kubectl reads otherwise than it is read here.
func ambiguous(n *yaml.Node) error {
	var errs []error
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if key := n.Content[i]; key.Kind == yaml.AliasNode {
				errs = append(errs, fmt.Errorf("line %d: *%s is a key; write out what it stands for", key.Line, key.Value))
			}
		}
		for _, key := range yamltext.Overridden(n) {
			errs = append(errs, fmt.Errorf("line %d: %s: stands before a YAML merge key (<<) that brings it too, which kubectl takes; write << first", key.Line, key.Value))
		}
	}
	for _, child := range n.Content {
		errs = append(errs, ambiguous(child))
	}
	return errors.Join(errs...)
}

func notYAML(err error) error {
	var several *yaml.TypeError
	if errors.As(err, &several) {
		return fmt.Errorf("not YAML: %s", strings.Join(several.Errors, "; "))
	}
	return fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
}
