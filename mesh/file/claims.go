package file

import (
	"slices"

	"github.com/sluice-cni/sluice/mesh"
)

// claims says which files hold an object, as they stand or in force, so that a change
// is compared with the files it has to do with and no others.
type claims struct {
	first map[mesh.Identity]*source
	more  map[mesh.Identity][]*source // beside the first
}

func newClaims() claims {
	return claims{make(map[mesh.Identity]*source), make(map[mesh.Identity][]*source)}
}

// renew replaces what a file claims by what it holds now; a file that is gone holds
// nothing.
func (c *claims) renew(f *source) {
	c.drop(f)
	f.claimed = [2][]*mesh.Resource{f.good, f.candidate()}
	for id := range f.claims() {
		switch holder := c.first[id]; {
		case holder == nil:
			c.first[id] = f
		case holder != f && !slices.Contains(c.more[id], f):
			c.more[id] = append(c.more[id], f)
		}
	}
}

func (c *claims) drop(f *source) {
	for id := range f.claims() {
		others := c.more[id]
		if c.first[id] == f {
			delete(c.first, id)
			if len(others) > 0 {
				c.first[id], others = others[0], others[1:]
			}
		} else if i := slices.Index(others, f); i >= 0 {
			others = slices.Delete(others, i, i+1)
		}
		if len(others) == 0 {
			delete(c.more, id)
		} else {
			c.more[id] = others
		}
	}
	f.claimed = [2][]*mesh.Resource{}
}

// around gives the files whose acceptance may depend on changed ones: those that hold
// an object of theirs, and so on, in order of their names.
func (c *claims) around(changed []*source) []*source {
	seen := make(map[*source]bool, len(changed))
	queue := slices.Clone(changed)
	for _, f := range changed {
		seen[f] = true
	}
	meet := func(f *source) {
		if f != nil && !seen[f] {
			seen[f] = true
			queue = append(queue, f)
		}
	}
	for i := 0; i < len(queue); i++ {
		f := queue[i]
		for id := range f.claims() {
			meet(c.first[id])
			for _, other := range c.more[id] {
				meet(other)
			}
		}
		for _, r := range f.candidate() {
			meet(c.first[r.Identity()])
			for _, other := range c.more[r.Identity()] {
				meet(other)
			}
		}
	}
	slices.SortFunc(queue, byName)
	return queue
}
