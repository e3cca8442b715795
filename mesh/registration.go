package mesh

import (
	"net/netip"
	"strconv"
	"strings"
)

// Registration writes the ServiceEntry that would register what was asked for, in
// one line of YAML: a name on a port, or without a name (TCP, an address as Host)
// the address. It is "" where none can be written safely: host comes from a
// stranger, and the line is meant to be pasted into a shell between single quotes.
func Registration(host string, addr netip.Addr, port uint16, protocol Protocol) string {
	if port == 0 {
		return ""
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && ip.Zone() == "" {
		host, addr = "", ip
	}
	word, upper := protocolWords(protocol)
	number := strconv.Itoa(int(port))
	ports := ", ports: [{number: " + number + ", name: " + word + ", protocol: " + upper + "}]"
	if host = canonicalHost(host); host != "" {
		if !pastable(host) {
			return ""
		}
		return entryHead(host, number) + "{hosts: [" + host + "]" + ports + ", resolution: DNS}}"
	}
	if !addr.IsValid() {
		return ""
	}
	text := addr.Unmap().WithZone("").StringExpanded() // without "::", which YAML may take for a mapping
	name := word + "-" + strings.NewReplacer(".", "-", ":", "-").Replace(text)
	return entryHead(name, number) + "{hosts: [" + name + ".external], addresses: [" + text + "]" + ports + ", resolution: NONE}}"
}

// entryHead begins the entry. The port is in its name: another of the same host
// is another entry.
func entryHead(host, port string) string {
	name := strings.ReplaceAll(host, ".", "-")
	name = strings.Trim(name[:min(len(name), 200)], "-")
	return "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: " + name + "-" + port + "}, spec: "
}

func protocolWords(p Protocol) (word, upper string) {
	switch p {
	case HTTP:
		return "http", "HTTP"
	case HTTP2:
		return "http2", "HTTP2"
	case TLS:
		return "tls", "TLS"
	}
	return "tcp", "TCP"
}

// pastable says that a host may be registered, that YAML reads it as text, and
// that a shell leaves it alone: names of two labels and more, of letters, digits
// and hyphens, the last label of letters first.
func pastable(host string) bool {
	if hostComplaint(host) != "" || !strings.Contains(host, ".") || isWildcard(host) {
		return false
	}
	if _, err := strconv.ParseFloat(host, 64); err == nil { // 1.e5
		return false
	}
	for _, c := range host {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && 'a' <= last[0] && last[0] <= 'z'
}
