package nft

import (
	"fmt"
	"sync"

	"github.com/sluice-cni/sluice/rules"
)

// cgroupLevels is the difference between a cgroup's depth as this process sees it
// and the level by which the kernel knows it. Some kernels count from the root of
// the hierarchy, others from the cgroup namespace of whoever loads the rule; so it
// is measured, once.
var cgroupLevels = sync.OnceValues(func() (levels int, err error) {
	err = inScratchNamespace(func() error {
		own, err := ownCgroup()
		if err != nil {
			return err
		}
		ids, err := ancestors()
		levels = len(ids) - 1 - rules.CgroupDepth(own)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("exemption by cgroup: find the level by which the kernel knows a cgroup: %w", err)
	}
	return levels, nil
})
