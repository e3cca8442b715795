package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	dropInName = "50-sluice.conf"
	// ownName sorts before Multus' own file, and begins as files do that Multus with a
	// daemon passes over when it looks for the configuration to delegate to: it takes the
	// first other one. Ours, which calls Multus, would have it call itself without end.
	ownName = "00-multus-sluice.conflist"
)

// directory is what a conf dir holds, as data.
type directory struct {
	files   map[string][]byte // .conf, .conflist and .json, by name
	dropIns map[string][]byte // our files beside lists, by the network's name
	others  map[string]bool   // networks that have a folder with files of others
}

// look reads a conf dir.
func look(dir string) (directory, error) {
	d := directory{files: map[string][]byte{}, dropIns: map[string][]byte{}, others: map[string]bool{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return d, fmt.Errorf("directory %q: cannot be read: %w; name the runtime's with --conf-dir", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch info, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
			continue // gone meanwhile, or a link to nowhere: the runtime does not see it either
		case err != nil:
			return d, err
		case info.IsDir():
			if err := d.lookBeside(path, e.Name()); err != nil {
				return d, err
			}
		case isConfiguration(e.Name()):
			raw, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return d, err
			}
			d.files[e.Name()] = raw
		}
	}
	return d, nil
}

func (d directory) lookBeside(path, network string) error {
	raw, err := os.ReadFile(filepath.Join(path, dropInName))
	if err == nil {
		d.dropIns[network] = raw
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if e.Name() != dropInName {
			d.others[network] = true
		}
	}
	return err
}

// isConfiguration says whether a runtime reads a file of that name; libcni's
// extensions.
func isConfiguration(name string) bool {
	return slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(name))
}

// errNoNetwork is a conf dir without a network configuration of somebody else.
var errNoNetwork = errors.New("holds no network configuration; install the cluster's network (the primary CNI plugin) first")

// primary is the configuration that the runtime uses but for ours: the first by
// name. One that cannot be used stops the runtime there, and us.
func (d directory) primary() (list, error) {
	names := make([]string, 0, len(d.files))
	for name := range d.files {
		if name != ownName {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return list{}, errNoNetwork
	}
	l, err := parse(slices.Min(names), d.files[slices.Min(names)])
	if err == nil && l.owner() == "" && !(d.others[l.name] && !l.inlined) {
		err = fmt.Errorf("file %q: has no plugins, so the runtime cannot use it; it is the first of its directory", l.file)
	}
	return l, err
}

// takesOwn says whether a list of our own would be the one that the runtime uses, and
// no other program than that.
func (d directory) takesOwn(primary list) error {
	if strings.Compare(ownName, primary.file) >= 0 {
		return fmt.Errorf("file %q: sorts before %q, so a list of our own would not be used; rename it, or use --mode append", primary.file, ownName)
	}
	if primary.owner() != "multus" {
		return nil
	}
	// Without a daemon Multus passes over 00-multus.conf and 00-multus.conflist only. Where
	// it is alone in the directory it looks in another one.
	for name := range d.files {
		if name != ownName && name != primary.file {
			remedy := "use --mode auto"
			if primary.single {
				remedy = "use Multus with its daemon (multus-shim), or set cniVersion 1.0.0 in the list that it delegates to and remove " + primary.file + ", so that it writes a list, or keep what it delegates to in another directory"
			}
			return fmt.Errorf("file %q: when Multus starts anew it would delegate to a list of our own, which calls Multus; %s", primary.file, remedy)
		}
	}
	return nil
}
