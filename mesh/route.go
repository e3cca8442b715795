package mesh

import "net/netip"

// VirtualHost is one host name and its HTTP routes in order.
type VirtualHost struct {
	Host   string // as registered, lower case; may be a wildcard
	Routes []*HTTPRoute

	within []netip.Prefix // only what is sent there; empty: wherever it is sent
	effort effort         // of a Match
}

// effort is how much there is to look at in a request, for each byte of it.
type effort struct{ path, head int }

// A regular expression takes so much longer for each byte than another condition, and an
// event loop may be held up by so much: forty expressions for a path of 100 bytes, which is
// a millisecond where they are of the worst kind.
const (
	regexEffort = 16
	quickEffort = 64 << 10
)

// Slow says that to choose among the routes may take longer than an event loop should be
// held up, for a request with a path and a head of so many bytes. A VirtualService may have
// thousands of expressions, and loops are shared with others' connections.
func (vh *VirtualHost) Slow(path, head int) bool {
	return vh.effort.path*path+vh.effort.head*head > quickEffort
}

func (e *effort) add(m *HTTPMatch) {
	e.path += 1 + m.URI.effort()
	e.head += m.Method.effort() + m.Scheme.effort() + m.Authority.effort()
	for _, one := range m.QueryParams {
		e.path += one.effort()
	}
	for _, some := range []map[string]*StringMatch{m.Headers, m.WithoutHeaders} {
		for _, one := range some {
			e.head += one.effort()
		}
	}
}

func (m *StringMatch) effort() int {
	switch {
	case m == nil:
		return 0
	case m.Regex != nil:
		return regexEffort
	}
	return 1
}

// HTTPRoute is one rule: the first whose Match accepts the request decides.
type HTTPRoute struct {
	Name         string // VirtualService's http[].name; "default" where none applies
	Match        []HTTPMatch
	Action       *HTTPAction       // never nil; rules share theirs between hosts and views
	Destinations []WeightedCluster // empty only where Action answers by itself
	Source       Source
}

// WeightedCluster is one destination of a route. Weights are relative; a single
// destination takes everything whatever its weight.
type WeightedCluster struct {
	Cluster *Cluster // never nil; Cluster.Unknown for a host nobody registers
	Weight  uint32
	Edits   *Edits // of HTTP heads, the rule's among them; nil: none
}

// TCPRoute is where an opaque connection (TCP, or TLS by its SNI) goes.
type TCPRoute struct {
	Name         string
	Destinations []WeightedCluster
	Source       Source

	anyName bool // of TLS by its destination: the server name does not matter
}

// NamedTCP is a service without addresses: opaque bytes are known to be for it by what
// its name resolves to.
type NamedTCP struct {
	Own   *Cluster  // the service itself: what is at its name and endpoints is its
	Route *TCPRoute // where its connections go
}
