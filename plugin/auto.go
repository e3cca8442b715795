package plugin

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
)

// discovered gives ADD the cluster's ranges, from the node's disk: it asks nobody.
func (c conf) discovered() (cidr.List, error) {
	return rangesfile.Read(c.settings.rangesFile, time.Now())
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

func (s *settings) setRangesFile(raw json.RawMessage) error {
	text, err := stringOf(raw)
	if err == nil && !filepath.IsAbs(text) {
		err = fmt.Errorf("%q: not an absolute path; begin with a slash", text)
	}
	if err == nil {
		s.rangesFile = text
	}
	return err
}
