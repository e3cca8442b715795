package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-cni/sluice/mesh"
)

// transaction is the directory while one process holds its lock: the files as
// they are, and as they shall be.
type transaction struct {
	dir     string
	unlock  func()
	names   []string
	before  map[string][]byte
	after   map[string][]byte // by name; nil: the file goes
	objects map[mesh.Identity]place
}

// place is where an object stands.
type place struct {
	mesh.Located
	file string
}

func (d Directory) begin() (*transaction, error) {
	if err := checkDirectory(d.Path); err != nil {
		return nil, err
	}
	unlock, err := lockExclusive(d.Path)
	if err != nil {
		return nil, err
	}
	t := &transaction{
		dir: d.Path, unlock: unlock,
		before: make(map[string][]byte), after: make(map[string][]byte), objects: make(map[mesh.Identity]place),
	}
	if t.names, err = list(d.Path); err != nil {
		t.end()
		return nil, err
	}
	for _, name := range t.names {
		if err := t.read(name); err != nil {
			t.end()
			return nil, err
		}
	}
	return t, nil
}

func (t *transaction) read(name string) error {
	path := filepath.Join(t.dir, name)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a link to nowhere
	}
	if err != nil {
		return fmt.Errorf("%q: cannot be read (%s); correct or remove the file", path, reason(err))
	}
	t.before[name] = data
	for _, o := range mesh.Locate(path, data, mesh.DecodeOptions{}) {
		if _, taken := t.objects[o.Identity]; !taken {
			t.objects[o.Identity] = place{o, name}
		}
	}
	return nil
}

func (t *transaction) end() { t.unlock() }

func (t *transaction) find(id mesh.Identity) (place, bool) {
	p, ok := t.objects[id]
	return p, ok
}

// resource decodes the object at a place, nil when it cannot be used.
func (t *transaction) resource(at place) *mesh.Resource {
	resources, _ := mesh.Decode(at.file, t.before[at.file], mesh.DecodeOptions{})
	i := slices.IndexFunc(resources, func(r *mesh.Resource) bool { return r.Identity() == at.Identity })
	if i < 0 {
		return nil
	}
	return resources[i]
}

func equal(a, b *mesh.Resource) bool {
	return a != nil && a.APIVersion == b.APIVersion && proto.Equal(a.Spec, b.Spec) &&
		equalMaps(a.Labels, b.Labels) && equalMaps(a.Annotations, b.Annotations)
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// together gives what Build says once new resources are among those that are
// there, in the order in which a Store will read them, and does not say already.
func (t *transaction) together(resources []*mesh.Resource, opts mesh.Options) mesh.Issues {
	replaced := make(map[mesh.Identity]bool)
	for _, r := range resources {
		replaced[r.Identity()] = true
	}
	own := t.freeName(resources[0].Identity())
	names := append(slices.Clone(t.names), own)
	slices.Sort(names)
	var all, there []*mesh.Resource
	for _, name := range names {
		if name == own {
			all = append(all, resources...)
			continue
		}
		found, _ := mesh.Decode(filepath.Join(t.dir, name), t.before[name], mesh.DecodeOptions{})
		there = append(there, found...)
		all = append(all, slices.DeleteFunc(found, func(r *mesh.Resource) bool { return replaced[r.Identity()] })...)
	}
	_, issues := mesh.Build(all, opts)
	_, before := mesh.Build(there, opts)
	return slices.DeleteFunc(issues, func(i mesh.Issue) bool { return slices.Contains(before, i) })
}

// isWholeFile says whether the objects are all that one file holds.
func (t *transaction) isWholeFile(objects []mesh.Identity, count int) bool {
	if len(objects) == 0 || len(objects) != count {
		return false
	}
	file := t.objects[objects[0]].file
	for _, id := range objects {
		if t.objects[id].file != file {
			return false
		}
	}
	return len(mesh.Locate(file, t.before[file], mesh.DecodeOptions{})) == len(objects)
}

// replaceFile gives the file of an object a new content.
func (t *transaction) replaceFile(id mesh.Identity, in Stream) error {
	data, err := withNamespace(in)
	if err != nil {
		return err
	}
	t.after[t.objects[id].file] = data
	return nil
}

// add puts a stream into a file of its own, as it was written.
func (t *transaction) add(in Stream, resources []*mesh.Resource) error {
	data, err := withNamespace(in)
	if err != nil {
		return err
	}
	t.after[t.freeName(resources[0].Identity())] = data
	return nil
}

// freeName names a file after its first object, which people will look for.
func (t *transaction) freeName(id mesh.Identity) string {
	base := strings.ToLower(id.Kind) + "." + id.Namespace + "." + id.Name
	if len(base) > 200 { // 255 is the most; names go to 253
		base = base[:200]
	}
	for n := 1; ; n++ {
		name := base + ".yaml"
		if n > 1 {
			name = fmt.Sprintf("%s.%d.yaml", base, n)
		}
		data, planned := t.after[name]
		_, err := os.Lstat(filepath.Join(t.dir, name))
		if planned && data == nil || !planned && errors.Is(err, os.ErrNotExist) {
			return name
		}
	}
}

// remove cuts objects out of their files.
func (t *transaction) remove(objects []mesh.Identity) error {
	byFile := make(map[string]map[mesh.Identity]bool)
	for _, id := range objects {
		file := t.objects[id].file
		if byFile[file] == nil {
			byFile[file] = make(map[mesh.Identity]bool)
		}
		byFile[file][id] = true
	}
	for file, ids := range byFile {
		rest, err := cut(filepath.Join(t.dir, file), t.before[file], ids)
		if err != nil {
			return err
		}
		t.after[file] = rest
		if isBlank(rest) {
			t.after[file] = nil
		}
	}
	return nil
}
