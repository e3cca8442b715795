package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/cidr"
)

// setter reads and prints one field.
type setter struct {
	set func(*Config, value) ([]string, error)
	get func(Config) string
}

func listField(name, meaning, example string, s setter) Field {
	return Field{Name: name, Meaning: meaning, Example: example, List: true, set: s.set, get: s.get}
}

func scalarField(name, meaning, example string, s setter) Field {
	return Field{Name: name, Meaning: meaning, Example: example, set: s.set, get: s.get}
}

// access makes a setter from a place in Config, a parser and a printer.
func access[T any](at func(*Config) *T, parse func([]string) (T, error), text func(T) string) setter {
	return setter{
		set: func(c *Config, v value) ([]string, error) {
			parsed, err := parse(v.split())
			if err == nil {
				*at(c) = parsed
			}
			return nil, err
		},
		get: func(c Config) string { return text(*at(&c)) },
	}
}

func ports(at func(*Config) *Ports) setter { return access(at, parsePorts, Ports.String) }

func ids(at func(*Config) *IDs) setter { return access(at, parseIDs, IDs.String) }

func interfaces(at func(*Config) *Interfaces) setter {
	return access(at, parseInterfaces, Interfaces.String)
}

func ranges(at func(*Config) *cidr.List) setter {
	return setter{
		set: func(c *Config, v value) ([]string, error) {
			list, warnings, err := cidr.ParseElements(v.split())
			if err == nil {
				*at(c) = list
			}
			var notes []string
			for _, w := range warnings {
				notes = append(notes, w.String())
			}
			return notes, err
		},
		get: func(c Config) string { return at(&c).String() },
	}
}

func port(at func(*Config) *uint16) setter {
	return setter{
		set: func(c *Config, v value) ([]string, error) {
			s, err := v.single()
			if err != nil {
				return nil, err
			}
			n, err := ParsePort(s)
			if err != nil {
				return nil, errors.New("not a port; use 1 to 65535")
			}
			*at(c) = n
			return nil, nil
		},
		get: func(c Config) string { return strconv.Itoa(int(*at(&c))) },
	}
}

func oneOf[T ~string](at func(*Config) *T, allowed ...T) setter {
	return setter{
		set: func(c *Config, v value) ([]string, error) {
			s, err := v.single()
			if err != nil {
				return nil, err
			}
			for _, a := range allowed {
				if s == string(a) {
					*at(c) = a
					return nil, nil
				}
			}
			return nil, fmt.Errorf("not a known value; use %s", alternatives(allowed))
		},
		get: func(c Config) string { return string(*at(&c)) },
	}
}

// alternatives lists words as a sentence does: "a, b or c".
func alternatives[T ~string](words []T) string {
	last := len(words) - 1
	return joinText(words[:last], func(w T) string { return string(w) }, ", ") + " or " + string(words[last])
}

func setDNSCapture(c *Config, v value) ([]string, error) {
	s, err := v.single()
	switch {
	case err != nil:
		return nil, err
	case s != "true" && s != "false":
		return nil, errors.New("not a boolean; use true or false")
	}
	c.DNSCapture = s == "true"
	return nil, nil
}

func setMark(c *Config, v value) ([]string, error) {
	s, err := v.single()
	if err != nil {
		return nil, err
	}
	digits, base := s, 10
	if hex, found := strings.CutPrefix(strings.ToLower(s), "0x"); found {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || strings.HasPrefix(digits, "+") {
		return nil, errors.New("not a packet mark; use a number up to 4294967295, or hexadecimal such as 0x539")
	}
	c.ExemptMark = uint32(n)
	return nil, nil
}

func formatMark(mark uint32) string {
	if mark == 0 {
		return "0"
	}
	return fmt.Sprintf("0x%x", mark)
}
