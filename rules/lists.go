package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is the ports First to Last, both included.
type PortRange struct{ First, Last uint16 }

// Ports is a set of ports: sorted ranges that neither overlap nor touch.
type Ports []PortRange

// AllPorts is "*". It holds port 0 too, which can be dialled though not written.
func AllPorts() Ports { return Ports{{0, 65535}} }

// Contains reports whether a range holds the port.
func (p Ports) Contains(port uint16) bool {
	for _, r := range p {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// String is the list as Config.Set reads it.
func (p Ports) String() string {
	if slices.Equal(p, AllPorts()) {
		return "*"
	}
	return join(p, PortRange.String)
}

func parsePorts(elements []string) (Ports, error) {
	var out Ports
	star := 0
	err := eachElement(elements, func(i int, s string) error {
		if s == "*" {
			star = i
			return nil
		}
		r, err := parsePortRange(s)
		out = append(out, r)
		return err
	})
	if star > 0 && len(out) > 0 {
		beside := &elementError{star, "*", "stands for every port, so nothing may stand beside it; remove the ports or the star"}
		err = errors.Join(err, beside)
	}
	if err != nil {
		return nil, err
	}
	if star > 0 {
		return AllPorts(), nil
	}
	return mergePorts(out), nil
}

func parsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if strings.ContainsAny(s, ":") && !isRange {
		return PortRange{}, fmt.Errorf("not a port; write a range as %s", strings.Replace(s, ":", "-", 1))
	}
	from, err := ParsePort(strings.TrimSpace(first))
	if err != nil || !isRange {
		return PortRange{from, from}, err
	}
	to, err := ParsePort(strings.TrimSpace(last))
	if err == nil && from > to {
		err = fmt.Errorf("the range runs backwards; write %d-%d", to, from)
	}
	return PortRange{from, to}, err
}

// ParsePort reads a port number, 1 to 65535.
func ParsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' || s[0] == '0' {
		return 0, errors.New("not a port; use 1 to 65535, or a-b for a range")
	}
	return uint16(n), nil
}

func mergePorts(ports Ports) Ports {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b PortRange) int { return int(a.First) - int(b.First) })
	var out Ports
	for _, r := range ports {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// IDs is a sorted set of numeric user or group ids.
type IDs []uint32

func (ids IDs) String() string {
	return join(ids, func(id uint32) string { return strconv.FormatUint(uint64(id), 10) })
}

func parseIDs(elements []string) (IDs, error) {
	var out IDs
	err := eachElement(elements, func(_ int, s string) error {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 1<<32-1 || s[0] == '+' {
			return errors.New("not a numeric id; use 0 to 4294967294 (names cannot be used)")
		}
		out = append(out, uint32(n))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sortedSet(out), nil
}

// eachElement calls f with each trimmed element and its 1-based position, and
// joins the errors. Empty elements are errors.
func eachElement(elements []string, f func(position int, s string) error) error {
	var errs []error
	for i, raw := range elements {
		s := strings.TrimSpace(raw)
		err := errors.New("empty; remove the extra comma")
		if s != "" {
			err = f(i+1, s)
		}
		if err != nil {
			errs = append(errs, &elementError{i + 1, s, err.Error()})
		}
	}
	return errors.Join(errs...)
}

// sortedSet copies, sorts and drops duplicates.
func sortedSet[T cmp.Ordered](items []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(items)))
}

func join[T any](items []T, text func(T) string) string { return joinText(items, text, ",") }

func joinText[T any](items []T, text func(T) string, between string) string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = text(item)
	}
	return strings.Join(out, between)
}
