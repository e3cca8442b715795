package mesh

import (
	"net/netip"
	"slices"
	"sync"
)

// Snapshot is everything the accepted resources say, compiled and immutable. It
// holds settings only: no socket, no address that was looked up, no certificate.
// Many goroutines may read one Snapshot. One that an Index made of another shares with
// it all that did not change.
type Snapshot struct {
	policy  OutboundPolicy
	root    string
	partial bool // Options.Partial

	generation uint64 // counts the index's

	services []*service        // oldest first, as all that follow
	virtuals []*virtualService // those that name the mesh
	rules    []*rule
	sidecars []*sidecar

	tables
	clusters *clusterCache // of the index

	mu    sync.Mutex
	views map[viewKey]*View // what was asked for, or was taken over

	identified sync.Once
	byIdentity map[Identity]*Resource // made when it is first asked for
}

// resource finds the one that a source names, nil for none.
func (s *Snapshot) resource(of Source) *Resource {
	s.identified.Do(func() {
		s.byIdentity = make(map[Identity]*Resource, s.Len())
		for _, r := range s.Resources() {
			s.byIdentity[r.Identity()] = r
		}
	})
	return s.byIdentity[Identity{of.Kind, of.Namespace, of.Name}]
}

// Resources lists what the snapshot was built from, oldest first.
func (s *Snapshot) Resources() []*Resource {
	type seat struct {
		rank
		*Resource
	}
	seats := make([]seat, 0, s.Len())
	for _, c := range s.services {
		seats = append(seats, seat{c.rank, c.resource})
	}
	for _, c := range s.virtuals {
		seats = append(seats, seat{c.rank, c.resource})
	}
	for _, c := range s.rules {
		seats = append(seats, seat{c.rank, c.resource})
	}
	for _, c := range s.sidecars {
		seats = append(seats, seat{c.rank, c.resource})
	}
	slices.SortFunc(seats, byRank)
	out := make([]*Resource, len(seats))
	for i, s := range seats {
		out[i] = s.Resource
	}
	return out
}

// Len is how many resources it was built from.
func (s *Snapshot) Len() int {
	return len(s.services) + len(s.virtuals) + len(s.rules) + len(s.sidecars)
}

// Workload is who asks: the namespace and labels that decide which resources
// apply (exportTo, Sidecar, workloadSelector, sourceLabels).
type Workload struct {
	Namespace string // default "default"
	Labels    map[string]string
	// Policy is what whoever governs the workload has laid down, over what resources say:
	// neither its Sidecar nor the mesh's policy counts then. nil leaves it to them.
	Policy *OutboundPolicy
	// Name and Pod are for logs and metrics; they decide nothing.
	Name string // of what owns the pod, a Deployment for instance; "" unknown
	Pod  string // "" unknown
}

// OutboundPolicy says what happens to a destination no resource registers
// (Sidecar.outboundTrafficPolicy.mode).
type OutboundPolicy uint8

const (
	// RegistryOnly refuses what is not registered. It is sluice's default.
	RegistryOnly OutboundPolicy = iota
	// AllowAny sends it to where the application asked.
	AllowAny
	// Observe does as AllowAny does, and has what RegistryOnly would refuse written down.
	// A Workload has it of whoever governs it; Istio's API does not know it.
	Observe
)

// Protocol is how the bytes of a declared port are read.
type Protocol uint8

const (
	// Unset means that the first bytes decide.
	Unset Protocol = iota
	HTTP           // HTTP, HTTP_PROXY, GRPC-WEB
	HTTP2          // HTTP2, GRPC
	TLS            // TLS, HTTPS: opaque, routed by SNI
	TCP            // TCP, MONGO, REDIS, MYSQL: opaque, routed by address
)

// Source is where a setting was written, for explanations and logs.
type Source struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	File      string `json:"file,omitempty"`  // "" when the resource came from elsewhere
	Line      int    `json:"line,omitempty"`  // 1-based, 0 unknown
	Field     string `json:"field,omitempty"` // spec.http[0]; "": the whole resource
}

// Resolution is how a cluster's addresses are found (ServiceEntry.resolution).
type Resolution uint8

const (
	ResolveNone          Resolution = iota // the original destination
	ResolveStatic                          // Endpoints are addresses
	ResolveDNS                             // every address of every endpoint
	ResolveDNSRoundRobin                   // one address per new connection
)

// Cluster is a service on a port: what a connection pool is made for.
type Cluster struct {
	// Name is Envoy's form: outbound|PORT|SUBSET|HOST.
	Name string
	// Host is the ServiceEntry's host, lower case, perhaps a wildcard: then the
	// host that the request names is the one to resolve.
	Host string
	Port uint16
	// TargetPort is the port to dial where an endpoint names none (ports[].targetPort, default Port).
	TargetPort uint16
	Resolution Resolution
	// Protocol is what the port declares, which is what the endpoints speak.
	Protocol Protocol
	// Addresses are the entry's VIPs; with ResolveNone the original destination
	// must be among them when there are any.
	Addresses []netip.Prefix
	// Endpoints is empty for ResolveNone, and for DNS without endpoints: then Host is the endpoint.
	Endpoints []Endpoint
	// EitherFamily: the endpoints are one Service's addresses, one of each family. That of
	// the family which the application chose is the one to use: its server may listen on
	// that alone.
	EitherFamily bool
	// TLS is how to originate TLS; nil sends bytes as they are.
	TLS *TLSSettings
	// Tunnel leads opaque connections on through the server, which is a proxy; nil: it
	// is the server itself that is spoken to.
	Tunnel *Tunnel
	// Waits says that a request may have to wait for a connection, or to be counted
	// with those of all event loops: they are carried by goroutines.
	Waits bool
	PoolSettings
	// External is false for MESH_INTERNAL.
	External bool
	// Subset is the DestinationRule's subset that Endpoints are of, "" for all.
	Subset string
	// Unknown marks the destination of a route that no visible service registers,
	// or a subset that no DestinationRule has: HTTP answers 503 with flag NC, TCP is reset.
	Unknown bool
	// Fingerprint changes whenever a setting does that says what a connection is;
	// pools are kept across snapshots while Name and Fingerprint stay.
	Fingerprint uint64
	Source      Source // the ServiceEntry
	PolicySrc   Source // the DestinationRule, zero when none
}

// Endpoint is one place a cluster's connections go.
type Endpoint struct {
	Addr   netip.Addr // zero when Name is set
	Name   string     // a DNS name, lower case, no trailing dot
	Port   uint16
	Weight uint32
	Labels map[string]string
}

// TLSMode is DestinationRule tls.mode.
type TLSMode uint8

const (
	// TLSSimple verifies the server and presents nothing.
	TLSSimple TLSMode = iota + 1
	// TLSMutual also presents a certificate.
	TLSMutual
)

// TLSSettings is DestinationRule trafficPolicy.tls.
type TLSSettings struct {
	Mode TLSMode
	// SNI defaults to the request's Host (HTTP) or the cluster's host (opaque bytes).
	SNI string
	// SubjectAltNames are the accepted names of the certificate; empty means the SNI.
	SubjectAltNames   []string
	CACertificates    string // file; "" means the system roots
	ClientCertificate string // file
	PrivateKey        string // file
	CRL               string // file of revocation lists (caCrl), "" for none
	// Credential names one of the workload's namespace, which takes the place of all
	// files; "" for none.
	Credential         string
	InsecureSkipVerify bool
}

// HTTPMatch is one alternative of a route's match list: all its conditions hold.
type HTTPMatch struct {
	URI, Scheme, Method, Authority *StringMatch
	Headers, WithoutHeaders        map[string]*StringMatch // lower-case names
	QueryParams                    map[string]*StringMatch
	Port                           uint16 // 0: any
	IgnoreURICase                  bool
	// RouteName is the access log's for requests that a match with a name takes: the
	// rule's and the match's, joined by a dot. "" is the route's own.
	RouteName string

	from *selector // whose requests: judged when a view is built, like Port
}

// Request is what a match may ask of a request. Strings may be views into a
// buffer that is reused: a match must not keep them.
type Request interface {
	Method() string
	Path() string // as sent, with the query
	Scheme() string
	Authority() string
	// Header gives a field's value by lower-case name; several are joined with a comma.
	Header(name string) (string, bool)
}
