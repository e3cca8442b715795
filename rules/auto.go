package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/cidr"
)

// autoRanges is the value of includeIPRanges that stands for the cluster's ranges.
const autoRanges = "auto"

// rangesOrAuto is the setter of includeIPRanges: ranges, or auto alone.
func rangesOrAuto() setter {
	list := ranges(func(c *Config) *cidr.List { return &c.IncludeIPRanges })
	return setter{
		set: func(c *Config, v value) ([]string, error) {
			elements := v.split()
			for i, e := range elements {
				switch {
				case strings.TrimSpace(e) != autoRanges:
				case len(elements) > 1:
					return nil, errors.Join(&elementError{i + 1, autoRanges, "stands for the cluster's ranges, so nothing may stand beside it; remove the others or auto"})
				default:
					c.AutoRanges, c.IncludeIPRanges = true, cidr.List{}
					return nil, nil
				}
			}
			notes, err := list.set(c, v)
			if err == nil {
				c.AutoRanges = false
			}
			return notes, err
		},
		get: func(c Config) string {
			if c.AutoRanges {
				return autoRanges
			}
			return list.get(c)
		},
	}
}

// Resolve puts the ranges that discover knows in the place of includeIPRanges auto;
// any other configuration stays as it is and discover is not asked. Until then such
// a configuration can be read, validated and printed, but neither planned nor judged
// by. The warnings are those that depend on the ranges.
func (c Config) Resolve(discover func() (cidr.List, error)) (Config, []Warning, error) {
	if !c.AutoRanges {
		return c, nil, nil
	}
	found, err := discover()
	if err == nil && found.None() {
		err = errors.New("no range of the cluster is known; name the ranges instead")
	}
	if err != nil {
		return c, nil, fmt.Errorf("includeIPRanges %q: %w", autoRanges, err)
	}
	c.AutoRanges, c.IncludeIPRanges = false, found
	return c, c.doubtsOfFamilies(), nil
}

func (c Config) unresolved() error {
	if !c.AutoRanges {
		return nil
	}
	return fmt.Errorf("includeIPRanges %q: stands for ranges that nobody has put in its place", autoRanges)
}
