package plugin

import (
	"slices"

	"github.com/sluice-cni/sluice/selection"
)

// role is what an interface means to the plugin. The rules hold for the whole
// namespace, whatever the number of its interfaces.
type role uint8

const (
	owner  role = iota // ADD programs, DEL removes
	member             // ADD programs, DEL leaves the rules to the owner
	extra              // not ours; but the pod's rules, where there are any, must cover it
)

func (c conf) role(ifname string) role {
	every := c.Interfaces[0] == selection.Everything
	switch {
	case every && ifname == selection.DefaultInterface, !every && ifname == c.Interfaces[0]:
		return owner
	case every, slices.Contains(c.Interfaces, ifname):
		return member
	}
	return extra
}

// owner is the interface whose DEL ends the pod. The node knows the pod by it, whichever
// interface's ADD came first.
func (c conf) owner() string {
	if c.Interfaces[0] == selection.Everything {
		return selection.DefaultInterface
	}
	return c.Interfaces[0]
}
