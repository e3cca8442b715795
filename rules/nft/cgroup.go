package nft

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// cgroupIDs are the kernel's numbers of cgroups by their paths. A cgroup that is
// made again has another number.
type cgroupIDs map[string]uint64

// cgroups is what a plan's cgroups are at this moment.
type cgroups struct {
	ids    cgroupIDs
	levels int // what the kernel counts before a path's own depth
}

// rootCgroup is the id of the whole hierarchy's root.
const rootCgroup = 1

// resolve looks the plan's cgroups up; it does nothing for a plan without any.
func resolve(plan rules.Plan) (cgroups, error) {
	out := cgroups{ids: cgroupIDs{}}
	paths := plan.Config.ExemptCgroups
	if len(paths) == 0 {
		return out, nil
	}
	mount, err := cgroupMount()
	if err != nil {
		return out, err
	}
	var errs []error
	for _, p := range paths {
		id, err := mount.id(p)
		if err == nil && id == rootCgroup {
			err = errors.New("is the root of the whole hierarchy and would exempt every process")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("exemptCgroups %q: %w", p, err))
		}
		out.ids[p] = id
	}
	if err := errors.Join(errs...); err != nil {
		return out, err
	}
	out.levels, err = cgroupLevels()
	return out, err
}

// cgroupTree is where the cgroup version 2 hierarchy is mounted, and which part.
type cgroupTree struct{ mountPoint, root string }

// cgroupMount finds the hierarchy: at /sys/fs/cgroup on most machines, at
// /sys/fs/cgroup/unified where version 1 is in use beside it.
func cgroupMount() (cgroupTree, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return cgroupTree{}, fmt.Errorf("find the cgroup mount: %w", err)
	}
	var found []cgroupTree
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		for i, f := range fields {
			if f == "-" && i >= 6 && i+1 < len(fields) && fields[i+1] == "cgroup2" {
				found = append(found, cgroupTree{mountPoint: unescaped(fields[4]), root: unescaped(fields[3])})
			}
		}
	}
	for _, t := range found {
		if t.root == "/" {
			return t, nil
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	return cgroupTree{}, fmt.Errorf("exemption by cgroup: %w: no cgroup version 2 hierarchy is mounted; mount one, or use another exemption", ErrUnsupported)
}

// unescaped undoes mountinfo's octal escapes.
func unescaped(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// id is the number of the cgroup at a path of the hierarchy.
func (t cgroupTree) id(p string) (uint64, error) {
	if t.root != "/" {
		inside, found := strings.CutPrefix(p, t.root)
		if !found || inside != "" && inside[0] != '/' {
			return 0, fmt.Errorf("lies outside of %s, the part of the hierarchy that is mounted here", t.root)
		}
		p = inside
	}
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path.Join(t.mountPoint, p), 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("no such cgroup in %s; the process that was exempt has ended, or the path is wrong (%w)", t.mountPoint, os.ErrNotExist)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot be looked up: %w", err)
	}
	if handle.Size() != 8 {
		return 0, fmt.Errorf("has a handle of %d bytes, not 8; is %s a cgroup mount?", handle.Size(), t.mountPoint)
	}
	return binaryutil.NativeEndian.Uint64(handle.Bytes()), nil
}
