// Package install puts sluice's CNI plugin into a node's container runtime and takes
// it out again: its entry into the network configuration, where it keeps it against
// whoever rewrites that, and its binary. What to write is computed from what is in
// the directory (plan.go); files are replaced by rename, so that a runtime reads
// either the old or the new.
package install

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
)

// A Mode is a way to become part of the cluster's network configuration.
type Mode string

const (
	// Auto is DropIn where the runtime reads such files, else Append; Own for a
	// primary that is no list.
	Auto Mode = "auto"
	// DropIn is a file of our own beside the list, CONF_DIR/NAME/50-sluice.conf. No
	// file of others is touched. Read by libcni 1.3 and above: containerd 2.1, CRI-O.
	DropIn Mode = "dropin"
	// Append is an entry at the end of the primary's list.
	Append Mode = "append"
	// Own is a list of our own that sorts first: the primary's with our entry, made
	// again whenever that changes. It survives a primary that rewrites its own.
	Own Mode = "own"
)

// Modes are all of them, for messages and completion.
var Modes = []Mode{Auto, DropIn, Append, Own}

// ReadMode finds the mode of that name.
func ReadMode(name string) (Mode, error) {
	var names []string
	for _, m := range Modes {
		if string(m) == name {
			return m, nil
		}
		names = append(names, string(m))
	}
	return "", fmt.Errorf("mode %q: not known; use %s", name, strings.Join(names, ", "))
}

// Options say what to install where.
type Options struct {
	ConfDir string          // of network configurations; it must exist
	Mode    Mode            // Auto by default
	Entry   json.RawMessage // our plugin's configuration, with "type"
	Runtime Runtime         // may be nil: then nobody is asked
	// Program puts the plugin's binary where it is missing or another. Watch calls it at
	// each look: with the entry in place and no binary every pod's ADD and DEL fails. It
	// may be nil.
	Program func(context.Context) error
	// Lease is a file by which installers of this node agree which of them keeps entry and
	// binary: the newest that lives, and none that was there when Leave was called. Empty:
	// this one does.
	Lease string
	// Name is who this installer is over its restarts, its pod's UID; empty: this process.
	Name string
	Log  *slog.Logger
}

// A Runtime answers for the container runtime of the node.
type Runtime interface {
	// Version is its name and version, "containerd" and "v2.1.4".
	Version(ctx context.Context) (name, version string, err error)
	// NetworkConfig is the network configuration that it uses now, in whatever form:
	// it is searched for our plugin's type. Nil where the runtime does not say.
	NetworkConfig(ctx context.Context) ([]byte, error)
}

// readsDropIns says whether a runtime of that version reads files beside a list:
// containerd from 2.1 (libcni 1.3), CRI-O since it carries libcni 1.3 (1.33).
func readsDropIns(name, version string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	switch name {
	case "containerd":
		return major > 2 || major == 2 && minor >= 1
	case "cri-o":
		return major > 1 || major == 1 && minor >= 33
	}
	return false
}
