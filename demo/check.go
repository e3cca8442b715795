package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNotBuilt reports plugins that are missing.
var ErrNotBuilt = errors.New("the demo needs the CNI plugins that `make build` makes")

// check finds out whether everything the demo runs is there.
func (o Options) check() error {
	var errs []error
	for _, name := range []string{"sluice-cni", "ptp", "host-local"} {
		if !o.hasPlugin(name) {
			errs = append(errs, fmt.Errorf("plugin %q: not in %v", name, o.PluginDirs))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w\n%w", ErrNotBuilt, errors.Join(errs...))
	}
	return nil
}

func (o Options) hasPlugin(name string) bool {
	for _, dir := range o.PluginDirs {
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}
