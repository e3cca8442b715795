package rules

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// Groups is a set of numeric group ids, or all there are.
type Groups struct {
	All bool
	IDs IDs
}

// EveryGroup is "*".
func EveryGroup() Groups { return Groups{All: true} }

// Contains reports whether the group is one of them.
func (g Groups) Contains(id uint32) bool { return g.All || slices.Contains(g.IDs, id) }

func (g Groups) String() string {
	if g.All {
		return "*"
	}
	return g.IDs.String()
}

func parseGroups(elements []string) (Groups, error) {
	if len(elements) == 1 && strings.TrimSpace(elements[0]) == "*" {
		return EveryGroup(), nil
	}
	for i, s := range elements {
		if strings.TrimSpace(s) == "*" {
			return Groups{}, errors.Join(&elementError{i + 1, "*", "stands for every group, so nothing may stand beside it; remove the groups or the star"})
		}
	}
	ids, err := parseIDs(elements)
	return Groups{IDs: ids}, err
}

// Cgroups is a sorted set of cgroup version 2 paths, from the root of the
// hierarchy as the process that applies the rules sees it.
type Cgroups []string

func (c Cgroups) String() string { return strings.Join(c, ",") }

// Contain reports whether a cgroup is one of them or beneath one.
func (c Cgroups) Contain(cgroup string) bool {
	return slices.ContainsFunc(c, func(p string) bool {
		return cgroup == p || strings.HasPrefix(cgroup, strings.TrimSuffix(p, "/")+"/")
	})
}

// CgroupDepth is how many steps a cgroup is away from the root.
func CgroupDepth(cgroup string) int {
	if cgroup == "/" {
		return 0
	}
	return strings.Count(cgroup, "/")
}

func parseCgroups(elements []string) (Cgroups, error) {
	var out Cgroups
	err := eachElement(elements, func(_ int, s string) error {
		switch {
		case !strings.HasPrefix(s, "/"):
			return errors.New("not a cgroup path; begin with a slash at the root of the version 2 hierarchy")
		case slices.Contains(strings.Split(s, "/"), ".."):
			return errors.New(`leads upwards by ".."; write the path as it is from the root`)
		case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return errors.New("not a cgroup path; it holds a control character")
		}
		out = append(out, path.Clean(s))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sortedSet(out), nil
}
