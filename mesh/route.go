package mesh

import "net/netip"

// VirtualHost is one host name and its HTTP routes in order.
type VirtualHost struct {
	Host   string // as registered, lower case; may be a wildcard
	Routes []*HTTPRoute

	within []netip.Prefix // only what is sent there; empty: wherever it is sent
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
