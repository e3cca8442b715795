package file

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
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
	unread  []mesh.Unreadable // parts of files that may hold more

	decoded map[string][]*mesh.Resource // files, as far as they were looked into
	usable  map[mesh.Identity]*mesh.Resource
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
		decoded: make(map[string][]*mesh.Resource), usable: make(map[mesh.Identity]*mesh.Resource),
	}
	removeLeftovers(d.Path)
	if t.names, err = Names(d.Path); err != nil {
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
	data, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a link to nowhere
	}
	if err != nil {
		return fmt.Errorf("%q: cannot be read (%s); correct or remove the file", path, reason(err))
	}
	t.before[name] = data
	objects, unread := mesh.LocateReadable(path, data, mesh.DecodeOptions{})
	t.unread = append(t.unread, unread...)
	for _, o := range objects {
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

// resources decodes a file, once.
func (t *transaction) resources(name string) []*mesh.Resource {
	if _, done := t.decoded[name]; !done {
		t.decoded[name], _ = mesh.Decode(filepath.Join(t.dir, name), t.before[name], mesh.DecodeOptions{})
		for _, r := range t.decoded[name] {
			if at := t.objects[r.Identity()]; at.file == name {
				t.usable[r.Identity()] = r
			}
		}
	}
	return t.decoded[name]
}

// resource is the object at a place, nil when it cannot be used.
func (t *transaction) resource(at place) *mesh.Resource {
	t.resources(at.file)
	return t.usable[at.Identity]
}

// equal says whether a file need not be written for b to be in it, which a is.
func equal(a, b *mesh.Resource) bool {
	return manifest.Equal(a, b) && a.APIVersion == b.APIVersion
}

// together gives what Build says once new resources are among those that are
// there, in the order in which a Store will read them, and does not say already.
func (t *transaction) together(parts []manifest.Part, opts mesh.Options) mesh.Issues {
	replaced := make(map[mesh.Identity]bool)
	byName := make(map[string][]*mesh.Resource)
	for _, p := range parts {
		name := t.freeName(p.Resources[0].Identity())
		byName[name] = append(byName[name], p.Resources...)
		for _, r := range p.Resources {
			replaced[r.Identity()] = true
		}
	}
	names := append(slices.Collect(maps.Keys(byName)), t.names...)
	slices.Sort(names)
	var all, there []*mesh.Resource
	for _, name := range names {
		all = append(all, byName[name]...)
		for _, r := range t.resources(name) {
			there = append(there, r)
			if !replaced[r.Identity()] {
				all = append(all, r)
			}
		}
	}
	return manifest.News(all, there, opts)
}

// apply puts streams in the place of what they replace.
func (t *transaction) apply(parts []manifest.Part, replaced []mesh.Identity, unchanged map[mesh.Identity]bool) error {
	if file, ok := t.sameObjects(parts); ok {
		if len(replaced) == 0 {
			return nil
		}
		data, err := withNamespace(parts[0].Stream)
		t.after[file] = data
		return err
	}
	if err := t.remove(replaced); err != nil {
		return err
	}
	return t.add(parts, unchanged)
}

// sameObjects finds the file that holds the objects of a single stream and no
// others.
func (t *transaction) sameObjects(parts []manifest.Part) (file string, ok bool) {
	if len(parts) != 1 {
		return "", false
	}
	for i, r := range parts[0].Resources {
		at, there := t.objects[r.Identity()]
		if !there || i > 0 && at.file != file {
			return "", false
		}
		file = at.file
	}
	return file, len(mesh.Locate(file, t.before[file], mesh.DecodeOptions{})) == len(parts[0].Resources)
}

// add puts each stream, without what is there unchanged, into a file of its own,
// as it was written.
func (t *transaction) add(parts []manifest.Part, unchanged map[mesh.Identity]bool) error {
	for _, p := range parts {
		first := slices.IndexFunc(p.Resources, func(r *mesh.Resource) bool { return !unchanged[r.Identity()] })
		if first < 0 {
			continue
		}
		data, err := withNamespace(p.Stream)
		if err != nil {
			return err
		}
		if data, err = cut(p.Name, data, unchanged); err != nil {
			return err
		}
		t.after[t.freeName(p.Resources[first].Identity())] = data
	}
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
