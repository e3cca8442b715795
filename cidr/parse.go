package cidr

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Warning is something accepted that an operator should still hear about.
type Warning struct {
	Position int    // 1-based place in the list
	Element  string // as written
	Text     string // what was made of it
}

func (w Warning) String() string {
	return fmt.Sprintf("element %d %q: %s", w.Position, w.Element, w.Text)
}

// ElementError is one element that is not a range.
type ElementError struct {
	Position int    // 1-based place in the list
	Element  string // as written
	Problem  string // what is wrong; what to do
}

func (e *ElementError) Error() string {
	return fmt.Sprintf("element %d %q: %s", e.Position, e.Element, e.Problem)
}

// Parse reads a comma list of ranges: CIDR ranges or single addresses of either
// family, "*" alone for every address, nothing for none. Spaces around elements,
// one trailing comma and duplicates are fine. Host bits are dropped with a
// Warning. The error joins an ElementError for each bad element.
func Parse(s string) (List, []Warning, error) {
	if strings.TrimSpace(s) == "" {
		return List{}, nil, nil
	}
	elements := strings.Split(s, ",")
	if last := len(elements) - 1; strings.TrimSpace(elements[last]) == "" {
		elements = elements[:last]
	}
	return ParseElements(elements)
}

// ParseElements is Parse for a list that is split already, such as a JSON array.
func ParseElements(elements []string) (List, []Warning, error) {
	var (
		ranges   collector
		warnings []Warning
		errs     []error
	)
	star := 0
	for i, raw := range elements {
		element := strings.TrimSpace(raw)
		if element == "*" {
			star = i + 1
			continue
		}
		prefix, warning, problem := parseElement(element)
		if problem != "" {
			errs = append(errs, &ElementError{i + 1, element, problem})
			continue
		}
		if warning != "" {
			warnings = append(warnings, Warning{i + 1, element, warning})
		}
		ranges.add(prefix)
	}
	if star > 0 && (len(ranges.prefixes) > 0 || len(errs) > 0) {
		errs = append(errs, &ElementError{star, "*", "stands for every address, so nothing may stand beside it; remove the ranges or the star"})
	}
	if len(errs) > 0 {
		return List{}, warnings, errors.Join(errs...)
	}
	return List{All: star > 0, Prefixes: ranges.prefixes}, warnings, nil
}

// parseElement reads one trimmed element: a prefix and perhaps a warning, or
// what is wrong with it.
func parseElement(s string) (p netip.Prefix, warning, problem string) {
	if problem := misfit(s); problem != "" {
		return p, "", problem
	}
	address, _, isRange := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return p, "", explainAddress(address)
	}
	if !isRange {
		p = netip.PrefixFrom(addr, addr.BitLen())
	} else if p, err = netip.ParsePrefix(s); err != nil {
		return p, "", explainLength(s, addr)
	}
	if addr.Is4In6() {
		return p, "", explainMapped(p)
	}
	if masked := p.Masked(); masked != p {
		return masked, fmt.Sprintf("has host bits set; %s means %s", s, masked), ""
	}
	return p, "", ""
}
