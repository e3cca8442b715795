package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Wanted is a destination that nobody registers: a name, or without a name (TCP, an
// address as Host) an address. Host comes from a stranger.
type Wanted struct {
	Namespace string // of the ServiceEntry; "" leaves it out
	Suffix    string // of its name, at most 9 bytes, to tell it from another
	Host      string
	Addr      netip.Addr
	Ports     []WantedPort // each number once
}

// WantedPort is a port that was asked for.
type WantedPort struct {
	Number   uint16
	Protocol Protocol // Unset: several, so each connection shows its own
}

// Registration writes the ServiceEntry that would register what was asked for, in
// one line of YAML. It is "" where none can be written safely: the line is meant to be
// pasted into a shell between single quotes.
func Registration(host string, addr netip.Addr, port uint16, protocol Protocol) string {
	e, ok := Wanted{Host: host, Addr: addr, Ports: []WantedPort{{port, protocol}}}.entry()
	if !ok {
		return ""
	}
	addresses := ""
	if e.address != "" {
		addresses = ", addresses: [" + e.address + "]"
	}
	return "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: " + e.name + "}, spec: {hosts: [" + e.host + "]" +
		addresses + ", ports: [" + e.ports[0] + "], resolution: " + e.resolution + "}}"
}

// Registration writes the ServiceEntry that registers w for its own namespace, as a YAML
// document with a line for each port, and the entry's name. Both are "" where none can be
// written safely.
func (w Wanted) Registration() (name, document string) {
	e, ok := w.entry()
	if !ok || w.Namespace != "" && !isNamespace(w.Namespace) {
		return "", ""
	}
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, "") + "\n") }
	line("apiVersion: networking.istio.io/v1")
	line("kind: ServiceEntry")
	line("metadata:")
	line("  name: ", e.name+w.Suffix)
	if w.Namespace != "" {
		line("  namespace: ", yamlWord(w.Namespace))
	}
	line("spec:")
	line("  hosts: [", e.host, "]")
	if e.address != "" {
		line("  addresses: [", e.address, "]")
	}
	line(`  exportTo: ["."]`)
	line("  ports:")
	for _, p := range e.ports {
		line("  - ", p)
	}
	line("  resolution: ", e.resolution)
	return e.name + w.Suffix, b.String()
}

// yamlWord is a word as YAML has it: quoted where it would be a number, a boolean or a date.
func yamlWord(word string) string {
	text, _ := yaml.Marshal(word) // of a string it does not fail
	return strings.TrimSpace(string(text))
}

// registering is what a ServiceEntry says, each in YAML.
type registering struct {
	name, host, address, resolution string
	ports                           []string
}

func (w Wanted) entry() (e registering, ok bool) {
	if len(w.Ports) == 0 || slices.ContainsFunc(w.Ports, func(p WantedPort) bool { return p.Number == 0 }) {
		return e, false
	}
	for _, p := range w.Ports {
		word, protocol := protocolWords(p.Protocol)
		if len(w.Ports) > 1 {
			word += "-" + strconv.Itoa(int(p.Number))
		}
		e.ports = append(e.ports, "{number: "+strconv.Itoa(int(p.Number))+", name: "+word+protocol+"}")
	}
	host, addr := w.Host, w.Addr
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && ip.Zone() == "" {
		host, addr = "", ip
	}
	if host = canonicalHost(host); host != "" {
		e.host, e.resolution = host, "DNS"
		e.name = entryName(host, w.Ports)
		return e, pastable(host)
	}
	if !addr.IsValid() {
		return e, false
	}
	e.address = addr.Unmap().WithZone("").StringExpanded() // without "::", which YAML may take for a mapping
	word, _ := protocolWords(w.Ports[0].Protocol)
	label := word + "-" + strings.NewReplacer(".", "-", ":", "-").Replace(e.address)
	e.host, e.resolution = label+".external", "NONE"
	e.name = entryName(label, w.Ports)
	return e, true
}

// entryName is a name for the entry. The ports are in it: another of the same host is
// another entry, and replaces none.
func entryName(host string, ports []WantedPort) string {
	// Bytes: a name has 253 (RFC 1123), of which 9 are left for Wanted.Suffix.
	const most, all = 200, 253 - 9
	name := strings.ReplaceAll(host, ".", "-")
	name = strings.Trim(name[:min(len(name), most)], "-")
	var numbers strings.Builder
	for _, p := range ports {
		numbers.WriteString("-" + strconv.Itoa(int(p.Number)))
	}
	if numbers.Len() <= all-most {
		return name + numbers.String()
	}
	sum := sha256.Sum256([]byte(numbers.String()))
	return name + "-" + hex.EncodeToString(sum[:4])
}

// protocolWords are a port's name, and how its protocol is written behind that.
func protocolWords(p Protocol) (word, protocol string) {
	switch p {
	case Unset:
		return "any", ""
	case HTTP:
		return "http", ", protocol: HTTP"
	case HTTP2:
		return "http2", ", protocol: HTTP2"
	case TLS:
		return "tls", ", protocol: TLS"
	}
	return "tcp", ", protocol: TCP"
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
