package nft

import "path"

// CgroupIDs are the kernel's numbers of a cgroup and of each above it but the root:
// what a rule may find a sender in.
func CgroupIDs(cgroup string) ([]uint64, error) {
	mount, err := cgroupMount()
	if err != nil {
		return nil, err
	}
	var out []uint64
	for p := path.Clean("/" + cgroup); p != "/"; p = path.Dir(p) {
		id, err := mount.id(p)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}
