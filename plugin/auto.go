package plugin

import (
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
)

// discovered gives ADD the cluster's ranges, from the node's disk: it asks nobody.
func (c conf) discovered() (cidr.List, error) {
	return rangesfile.Read(c.RangesFile, time.Now())
}

// applied gives CHECK the ranges that ADD found: that the file has changed since is
// no drift of the pod. A namespace without rules has none; CHECK says so in a moment.
func (c conf) applied(args *skel.CmdArgs) func() (cidr.List, error) {
	return func() (cidr.List, error) {
		netns, err := openNetns(args)
		if err != nil {
			return cidr.List{}, err
		}
		defer netns.Close()
		stored, found, err := storedConfig(int(netns.Fd()))
		if err != nil || !found {
			return cidr.Everything(), nil
		}
		return stored.IncludeIPRanges, nil
	}
}

// unknownRanges lets STATUS judge everything else: without the file the pods that
// are told auto cannot start, and all others can.
func unknownRanges() (cidr.List, error) { return cidr.Everything(), nil }
