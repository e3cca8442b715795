// Package policydir reads a node's selection policy from a directory of YAML files,
// /etc/sluice/policy.d by default, and follows it.
//
//	# /etc/sluice/policy.d/10-node.yaml
//	exemptNamespaces: [kube-system]
//	enforce: [excludeIPRanges]
//	namespaces:
//	  shop: {enforce: [inject]}
//
// All files together are one policy. A field that two of them give is an error, as is
// everything that is not known: a policy that is read otherwise than it was meant lets
// pods out, or cuts them off. docs/selection.md has every field.
package policydir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/internal/wholefile"
	"github.com/sluice-cni/sluice/selection"
)

// DefaultPath of the directory.
const DefaultPath = "/etc/sluice/policy.d"

// mostFile bounds one file, in bytes.
const mostFile = 1 << 20

// Compile reads the directory. One that is not there is a policy that says nothing. All
// errors come at once, each as "file:line: field: what is wrong"; then there is no
// policy.
func Compile(dir string) (*selection.Policy, error) {
	names, err := files(dir)
	if err != nil {
		return nil, err
	}
	r := reader{policy: &selection.Policy{}, at: map[string]position{}}
	for _, name := range names {
		data, err := content(filepath.Join(dir, name))
		if err != nil {
			r.wrong = append(r.wrong, mistake{position{file: name}, err.Error()})
			continue
		}
		r.file(name, data)
	}
	return r.result()
}

// Parse is Compile of one text; name stands before each error.
func Parse(name string, data []byte) (*selection.Policy, error) {
	return ParseAll(map[string]string{name: string(data)})
}

// ParseAll is Compile of texts, each by the name that stands before its errors.
func ParseAll(texts map[string]string) (*selection.Policy, error) {
	r := reader{policy: &selection.Policy{}, at: map[string]position{}}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		r.file(name, []byte(texts[name]))
	}
	return r.result()
}

// IsFile says whether a file of that name in the directory would be the policy's: one
// that ends in .yaml, .yml or .json and does not begin with a dot.
func IsFile(name string) bool {
	return !strings.HasPrefix(name, ".") && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name))
}

// files lists the directory's YAML files, sorted: those that end in .yaml, .yml or
// .json and do not begin with a dot, as the resources' directory does.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && IsFile(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// content reads one of them.
func content(path string) ([]byte, error) {
	data, err := wholefile.Read(path, mostFile)
	var failed *fs.PathError
	switch {
	case errors.As(err, &failed):
		return nil, failed.Err // the file is named already
	case errors.Is(err, wholefile.ErrTooLarge):
		return nil, fmt.Errorf("%w; split it", err)
	}
	return data, err
}

// result judges what the files say together.
func (r *reader) result() (*selection.Policy, error) {
	for _, p := range append(r.policy.Problems(), r.policy.Contradictions()...) {
		r.wrong = append(r.wrong, mistake{r.where(p.Path), p.Text})
	}
	if len(r.wrong) == 0 {
		return r.policy, nil
	}
	slices.SortStableFunc(r.wrong, func(a, b mistake) int {
		return cmp.Or(strings.Compare(a.at.file, b.at.file), a.at.line-b.at.line)
	})
	var errs []error
	for _, m := range r.wrong {
		errs = append(errs, fmt.Errorf("%s: %s", m.at, m.text))
	}
	return nil, errors.Join(errs...)
}

// where is the place of the path, or of the nearest that holds it.
func (r *reader) where(path string) position {
	for {
		if at, known := r.at[path]; known {
			return at
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return position{file: r.name}
		}
		path = path[:cut]
	}
}
