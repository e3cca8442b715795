package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/cidr"
)

// Field describes one field of Config, for documentation, flags and annotations.
type Field struct {
	Name    string // the JSON name
	Default string // as text, the form Set takes
	Meaning string // one sentence
	Example string // a value that Set accepts
	List    bool   // may be a JSON array
	set     func(*Config, value) ([]string, error)
	get     func(Config) string
}

// Fields lists every field of Config in the order of the documentation.
func Fields() []Field {
	out := append(rangeFields(), ownerFields()...)
	out = append(out, proxyFields()...)
	defaults := Default()
	for i := range out {
		out[i].Default = out[i].get(defaults)
	}
	return out
}

// Value is the field's value in c, as the text that Config.Set takes.
func (f Field) Value(c Config) string { return f.get(c) }

func rangeFields() []Field {
	return []Field{
		listField("includeIPRanges", "TCP to these ranges goes to the proxy; * is every address, an empty list is none.", "10.0.0.0/8,2001:db8::/32",
			ranges(func(c *Config) *cidr.List { return &c.IncludeIPRanges })),
		listField("excludeIPRanges", "Nothing to these ranges is captured, DNS neither; they win over every include.", "10.96.0.0/12",
			ranges(func(c *Config) *cidr.List { return &c.ExcludeIPRanges })),
		listField("includeOutboundPorts", "TCP to these ports goes to the proxy whatever the address; * is every port.", "80,443,8000-8999",
			ports(func(c *Config) *Ports { return &c.IncludeOutboundPorts })),
		listField("excludeOutboundPorts", "TCP and UDP to these ports is not captured; they win over every include.", "22,6443",
			ports(func(c *Config) *Ports { return &c.ExcludeOutboundPorts })),
		listField("excludeInterfaces", "Nothing that leaves by these interfaces is captured.", "net1",
			access(func(c *Config) *Interfaces { return &c.ExcludeInterfaces }, parseInterfaces, Interfaces.String)),
	}
}

func ownerFields() []Field {
	return []Field{
		scalarField("exemption", "How the proxy's own connections are known: uid (exemptUIDs and exemptGIDs) or mark (exemptMark).", "uid",
			oneOf(func(c *Config) *Exemption { return &c.Exemption }, ExemptByUID, ExemptByMark)),
		listField("exemptUIDs", "Nothing from processes of these users is captured; an empty list exempts nobody.", "1337",
			access(func(c *Config) *IDs { return &c.ExemptUIDs }, parseIDs, IDs.String)),
		listField("exemptGIDs", "Nothing from processes of these groups is captured; an empty list exempts nobody.", "1337",
			access(func(c *Config) *IDs { return &c.ExemptGIDs }, parseIDs, IDs.String)),
		scalarField("exemptMark", "Nothing with this packet mark is captured, when exemption is mark; 0 is no mark.", "0x539",
			setter{setMark, func(c Config) string { return formatMark(c.ExemptMark) }}),
	}
}

func proxyFields() []Field {
	return []Field{
		scalarField("outboundPort", "Where the proxy receives captured TCP, on the loopback address.", "15001",
			port(func(c *Config) *uint16 { return &c.OutboundPort })),
		scalarField("dnsCapture", "Whether DNS (UDP and TCP to port 53) goes to dnsPort.", "true",
			setter{setDNSCapture, func(c Config) string { return strconv.FormatBool(c.DNSCapture) }}),
		scalarField("dnsPort", "Where captured DNS is received, UDP and TCP, on the loopback address.", "15053",
			port(func(c *Config) *uint16 { return &c.DNSPort })),
		listField("dnsServers", "DNS to these addresses is captured, when dnsCapture is on; * is every server.", "10.96.0.10,127.0.0.53",
			ranges(func(c *Config) *cidr.List { return &c.DNSServers })),
		scalarField("nonTCP", "What happens to UDP other than DNS, SCTP, ICMP echo and the like in the included ranges: reject or allow.", "allow",
			oneOf(func(c *Config) *NonTCP { return &c.NonTCP }, NonTCPReject, NonTCPAllow)),
		scalarField("failurePolicy", "What becomes of a new connection that should have been redirected and was not, since the rule is gone: block refuses it, bypass lets it go direct.", "bypass",
			oneOf(func(c *Config) *FailurePolicy { return &c.FailurePolicy }, FailureBlock, FailureBypass)),
	}
}

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
			return nil, fmt.Errorf("not a known value; use %s", join(allowed, func(a T) string { return string(a) }))
		},
		get: func(c Config) string { return string(*at(&c)) },
	}
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
