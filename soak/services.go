package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// A service is a registered name and the servers behind it.
type service struct {
	name     string
	host     string
	replicas int
}

// The services under load. Those whose name is nowhere registered have no servers.
var (
	static   = service{"static", "static.test", 3}     // HTTP to listed endpoints
	byName   = service{"by-name", "names.test", 3}     // HTTP to what DNS says
	origin   = service{"origin", "origin.test", 2}     // HTTP, with TLS added by the proxy
	second   = service{"second", "second.test", 2}     // HTTP/2, with TLS added by the proxy
	flap     = service{"flap", "flap.test", 2}         // HTTP, registered now and then
	lines    = service{"lines", "", 2}                 // TCP by address
	sealed   = service{"sealed", "sealed.test", 2}     // TLS by server name
	stranger = service{"stranger", "stranger.test", 0} // never registered
)

var services = []service{static, byName, origin, second, flap, lines, sealed}

// tlsNames are what certificates are for.
var tlsNames = []string{origin.host, second.host, sealed.host}

// Where clients connect to. Nobody is there.
const (
	webAddress      = "198.51.100.1:80"
	sealedAddress   = "198.51.100.1:443"
	strangerAddress = "198.51.100.3:5001"
)

// Opaque connections go to an address each, by which the access log tells them
// apart: a client's port is not always the one that the proxy sees.
const linesRange, sealedRange = "198.18", "198.19"

// ownAddress is the n-th address of a range, with a port.
func ownAddress(of string, n int64, port int) string {
	return fmt.Sprintf("%s.%d.%d:%d", of, n>>8&255, n&255, port)
}

// address is where the n-th server of the i-th service is.
func address(i, n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, 0, byte(10 + 10*i + n)}) }

func (s service) addresses() (all []netip.Addr) {
	for i := range services {
		for n := range s.replicas {
			if services[i] == s {
				all = append(all, address(i, n))
			}
		}
	}
	return all
}

// shape is how a service is written at the moment; whatever it says, the service
// remains the same to its clients.
type shape struct {
	order    []int // of endpoints
	weights  []int // nil: none
	timeout  int   // of a route, in seconds; 0: no VirtualService
	connect  int   // connectTimeout in seconds; 0: none said
	roots    string
	cert     string // of the proxy, "" where the servers do not ask for it
	key      string
	secret   bool // cert, key and roots come from the credential
	namesSNI bool
	robin    bool // DNS_ROUND_ROBIN
}

// securePort is where the servers speak TLS as the shape says.
func (sh shape) securePort() int {
	if sh.cert != "" {
		return mutualPort
	}
	return securePort
}

// trust is how TLS is originated.
func (sh shape) trust() string {
	switch {
	case sh.secret:
		return "mode: MUTUAL, credentialName: " + credentialName
	case sh.cert != "":
		return fmt.Sprintf("mode: MUTUAL, clientCertificate: %s, privateKey: %s, caCertificates: %s", sh.cert, sh.key, sh.roots)
	}
	return "mode: SIMPLE, caCertificates: " + sh.roots
}

// entry writes the ServiceEntry of a service.
func (s service) entry(protocol string, port, target int, sh shape) string {
	var b strings.Builder
	host := s.host
	if host == "" {
		host = s.name + ".test"
	}
	fmt.Fprintf(&b, `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%s]
`, s.name, host)
	if s == lines {
		fmt.Fprintf(&b, "  addresses: [%s.0.0/16]\n", linesRange)
	}
	if s == byName {
		resolution := "DNS"
		if sh.robin {
			resolution = "DNS_ROUND_ROBIN"
		}
		fmt.Fprintf(&b, "  ports: [{number: %d, name: port, protocol: %s, targetPort: %d}]\n  resolution: %s\n", port, protocol, target, resolution)
		return b.String()
	}
	fmt.Fprintf(&b, "  ports: [{number: %d, name: port, protocol: %s}]\n  resolution: STATIC\n  endpoints:\n", port, protocol)
	all := s.addresses()
	for k, at := range sh.order {
		fmt.Fprintf(&b, "  - {address: %s, ports: {port: %d}", all[at], target)
		if sh.weights != nil {
			fmt.Fprintf(&b, ", weight: %d", sh.weights[k])
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// resources is the file of a service.
func (s service) resources(sh shape) string {
	switch s {
	case lines:
		return s.entry("TCP", 5000, linesPort, sh)
	case sealed:
		return s.entry("TLS", 443, sealedPort, sh)
	case second:
		return s.entry("HTTP2", 80, sh.securePort(), sh) + s.route(sh) + s.rule(sh)
	case origin:
		return s.entry("HTTP", 80, sh.securePort(), sh) + s.route(sh) + s.rule(sh)
	}
	return s.entry("HTTP", 80, plainPort, sh) + s.route(sh) + s.rule(sh)
}

func (s service) route(sh shape) string {
	if sh.timeout == 0 {
		return ""
	}
	return fmt.Sprintf(`---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s}
spec:
  hosts: [%s]
  http:
  - timeout: %ds
    route: [{destination: {host: %s}}]
`, s.name, s.host, sh.timeout, s.host)
}

func (s service) rule(sh shape) string {
	var policy []string
	if sh.connect > 0 {
		policy = append(policy, fmt.Sprintf("connectionPool: {tcp: {connectTimeout: %ds}}", sh.connect))
	}
	if sh.roots != "" {
		sni := ""
		if sh.namesSNI {
			sni = ", sni: " + s.host
		}
		policy = append(policy, fmt.Sprintf("tls: {%s%s}", sh.trust(), sni))
	}
	if policy == nil {
		return ""
	}
	return fmt.Sprintf(`---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %s}
spec:
  host: %s
  trafficPolicy: {%s}
`, s.name, s.host, strings.Join(policy, ", "))
}

// filler is a service that nobody uses.
func filler(n, variant int) (name, text string) {
	name = fmt.Sprintf("filler-%d", n)
	return name, fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%s.test]
  ports: [{number: %d, name: port, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.%d}]
`, name, name, 80+variant%3, 1+variant%200)
}
