package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Directory is a Source that has the credential NAME of NAMESPACE as the directory
// NAMESPACE/NAME below it, with a file for each key, as a Secret is mounted.
type Directory string

// keys are the files that may be in a credential.
var keys = []string{"tls.crt", "tls.key", "ca.crt", "ca.crl", "cert", "key", "cacert", "crl"}

// Keys are the parts that a credential may have: those of a Secret of Kubernetes, and
// those of Istio's own names for them.
func Keys() []string { return slices.Clone(keys) }

// Version implements Source.
func (d Directory) Version(namespace, name string) (Version, error) {
	dir, err := d.find(namespace, name)
	if err != nil {
		return Version{}, err
	}
	var out Version
	for _, key := range keys {
		err := out.add(filepath.Join(dir, key))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Version{}, fmt.Errorf("%s: %w", key, err)
		}
		out.Text += ";"
	}
	return out, nil
}

// Read implements Source.
func (d Directory) Read(namespace, name string) (map[string][]byte, error) {
	dir, err := d.find(namespace, name)
	if err != nil {
		return nil, err
	}
	content := make(map[string][]byte)
	for _, key := range keys {
		data, err := readFile(filepath.Join(dir, key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		content[key] = data
	}
	return content, nil
}

// find gives a credential's directory. Names that lead elsewhere are none.
func (d Directory) find(namespace, name string) (string, error) {
	below := filepath.Join(namespace, name)
	dir := filepath.Join(string(d), below)
	if !filepath.IsLocal(namespace) || filepath.Base(name) != name || !filepath.IsLocal(below) {
		return "", fmt.Errorf("not a name: %w", fs.ErrNotExist)
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &missing{fmt.Sprintf("there is no directory %s; make it, with a file for each of tls.crt, tls.key, ca.crt that is needed", dir)}
	case err != nil:
		return "", fmt.Errorf("directory %s: %w", dir, reason(err))
	case !info.IsDir():
		return "", fmt.Errorf("%s is not a directory", dir)
	}
	return dir, nil
}

// missing is fs.ErrNotExist in words of its own.
type missing struct{ text string }

func (e *missing) Error() string        { return e.text }
func (e *missing) Is(target error) bool { return target == fs.ErrNotExist }

// nowhere is a Source without credentials.
type nowhere struct{}

var errNowhere = &missing{"there are no credentials here; name their directory with --credentials"}

func (nowhere) Version(string, string) (Version, error)        { return Version{}, errNowhere }
func (nowhere) Read(string, string) (map[string][]byte, error) { return nil, errNowhere }
