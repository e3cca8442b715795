package rules

import (
	"errors"
	"strings"
)

// Interfaces is a sorted set of network interface names.
type Interfaces []string

func (n Interfaces) String() string { return strings.Join(n, ",") }

func parseInterfaces(elements []string) (Interfaces, error) {
	var out Interfaces
	err := eachElement(elements, func(_ int, s string) error {
		switch {
		case len(s) > 15 || s == "." || s == ".." || strings.ContainsAny(s, "/: \t\n\"'\\"):
			return errors.New("not an interface name; use 1 to 15 characters without space, slash, colon or quote")
		case strings.ContainsAny(s, "*+"):
			return errors.New("wildcards cannot be used; name each interface")
		}
		for _, b := range []byte(s) {
			if b < ' ' || b == 0x7f {
				return errors.New("not an interface name; it holds a control character")
			}
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sortedSet(out), nil
}
