package mesh

import (
	"net/netip"
	"strings"
)

// isHostLabel says whether a label is of letters, digits and hyphens, which are neither
// first nor last.
func isHostLabel(label string) bool {
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-' && 0 < i && i < len(label)-1:
		default:
			return false
		}
	}
	return label != ""
}

// hostName checks a DNS name, perhaps a wildcard; it says whether it is fine.
func (c *checker) hostName(path, host string) bool {
	if complaint := hostComplaint(host); complaint != "" {
		c.error(path, host, "%s", complaint)
		return false
	}
	return true
}

// HostComplaint says what is wrong with a host, "" when nothing is. An address is
// fine.
func HostComplaint(host string) string { return hostComplaint(host) }

// hostComplaint says what is wrong with a host, "" when nothing is.
func hostComplaint(host string) string {
	if isAddress(host) {
		return "" // the caller knows whether an address will do
	}
	name := strings.TrimSuffix(host, ".")
	if complaint := notAName(host, name); complaint != "" {
		return complaint
	}
	labels := strings.Split(name, ".")
	// Nobody is led to a wildcard that is over a whole top-level domain.
	instead := func(rest []string) string {
		if len(rest) < 2 {
			return "write each name"
		}
		return "write *." + strings.Join(rest, ".") + ", or each name"
	}
	for i, label := range labels {
		switch {
		case label == "*" && i == 0:
		case strings.Contains(label, "*") && i > 0:
			return "a wildcard can only be the first label; " + instead(labels[i+1:])
		case strings.Contains(label, "*"):
			return "a wildcard must be the whole first label; " + instead(labels[1:])
		case len(label) > 63:
			return "has a label of more than 63 letters; it is no DNS name"
		case !isHostLabel(label):
			return "not a DNS name; use labels of letters, digits and '-' between dots"
		}
	}
	return ""
}

// notAName recognises what people write instead of a DNS name.
func notAName(host, name string) string {
	switch {
	case name == "":
		return "is empty; write a DNS name"
	case strings.Contains(host, "://"):
		rest := host[strings.Index(host, "://")+3:]
		rest, _, _ = strings.Cut(rest, "/")
		return "a URL where a DNS name is wanted; write " + rest
	case strings.Contains(host, "/"):
		return "not a DNS name; write it without the path"
	case strings.Contains(host, ":"):
		return "a name with a port; write the name alone, the port stands in its own field"
	case len(name) > maxHostLength:
		return "longer than 253 letters; it is no DNS name"
	}
	return ""
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// subnets checks destinationSubnets.
func (c *checker) subnets(path string, list []string) {
	for i, text := range list {
		c.subnet(at(path, i), text)
	}
}

// subnet checks an address or range; it says whether it is fine.
func (c *checker) subnet(path, text string) (netip.Prefix, bool) {
	prefix, ok := parsePrefix(text)
	if !ok {
		c.error(path, text, "not an address or range; write one like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32")
		return prefix, false
	}
	if written, err := netip.ParsePrefix(text); err == nil && written != prefix {
		c.warn(path, text, "has host bits; it is read as %s", prefix)
	}
	return prefix, true
}
