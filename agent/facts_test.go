package agent

import (
	"testing"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

func TestAPodThatAProcessLeadsToGivesWayToOneThatAFileLeadsTo(t *testing.T) {
	t.Parallel()
	found := func(inode uint64, name, path string) Found {
		return Found{Netns: wire.Netns{Device: 4, Inode: inode}, Path: path, Pod: selection.Pod{Name: name}}
	}
	for name, all := range map[string][]Found{
		"before": {found(1, "ended", ""), found(1, "web", "/run/netns/web"), found(2, "other", "")},
		"after":  {found(1, "web", "/run/netns/web"), found(1, "ended", ""), found(2, "other", "")},
	} {
		got := certain(all)
		if len(got) != 2 || got[0].Pod.Name != "web" || got[1].Pod.Name != "other" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
