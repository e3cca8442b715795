package admin

import (
	"net/netip"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// List is an answer of many items, of which only some may be told.
type List[T any] struct {
	Items []T `json:"items"`
	// More is how many there are beyond Items.
	More int `json:"more"`
}

// add keeps an item if there is room.
func (l *List[T]) add(item T, limit int) {
	if len(l.Items) < limit {
		l.Items = append(l.Items, item)
	} else {
		l.More++
	}
}

// Status says which proxy answers.
type Status struct {
	Version   string            `json:"version"`
	PID       int               `json:"pid"`
	Command   string            `json:"command"` // proxy or exec
	Namespace string            `json:"namespace"`
	Workload  string            `json:"workload,omitempty"`
	Pod       string            `json:"pod,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Policy    string            `json:"policy,omitempty"`   // as the workload's Sidecar has it
	NotReady  string            `json:"notReady,omitempty"` // what is missing
}

// Route is one way through the configuration in force.
type Route struct {
	Port    uint16         `json:"port"`
	Traffic string         `json:"traffic"` // http, tls or tcp
	Host    string         `json:"host,omitempty"`
	Subnets []netip.Prefix `json:"subnets,omitempty"`
	Name    string         `json:"name,omitempty"`
	// Match are the alternatives of which one must hold, none: everything.
	Match        []string      `json:"match,omitempty"`
	Destinations []Destination `json:"destinations,omitempty"`
	// Does is what the route does besides.
	Does   []string    `json:"does,omitempty"`
	Source mesh.Source `json:"source,omitzero"`
}

// Destination is a cluster and its share.
type Destination struct {
	Cluster string `json:"cluster"`
	Weight  uint32 `json:"weight,omitempty"` // among the others; 0 where it is the only one
}

// Cluster is a service on a port, and its connections.
type Cluster struct {
	Name       string `json:"name"`
	Host       string `json:"host"`
	Port       uint16 `json:"port"`
	Protocol   string `json:"protocol"`
	Resolution string `json:"resolution"`
	Endpoints  int    `json:"endpoints"` // as configured
	// Settings are what the DestinationRule says, and what stands where it says nothing.
	Settings []string `json:"settings,omitempty"`
	TLS      string   `json:"tls"`               // the mode of TLS that is originated: DISABLE, SIMPLE or MUTUAL
	Unknown  bool     `json:"unknown,omitempty"` // a route leads to it, and nothing registers it
	// Leaving is one of an earlier configuration, whose last connections end.
	Leaving bool        `json:"leaving,omitempty"`
	Active  int         `json:"active"` // connections that carry something
	Idle    int         `json:"idle"`   // that wait for the next request
	Source  mesh.Source `json:"source,omitzero"`
	Policy  mesh.Source `json:"policy,omitzero"`
}

// Endpoint is one place where a cluster's connections go.
type Endpoint struct {
	Cluster string `json:"cluster"`
	// Name is a DNS name, Address one that is configured or that the name has.
	Name    string            `json:"name,omitempty"`
	Address string            `json:"address,omitempty"`
	Port    uint16            `json:"port"`
	State   string            `json:"state"`             // one of the constants
	Error   string            `json:"error,omitempty"`   // why it failed, or the failure that ejected it
	Expires *time.Time        `json:"expires,omitempty"` // the end of the name's TTL
	Weight  uint32            `json:"weight,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Active are requests and opaque connections under way, Connections those that are
	// open. Ejected is when an ejection by outlier detection ends.
	Active      int        `json:"active"`
	Connections int        `json:"connections"`
	Ejected     *time.Time `json:"ejectedUntil,omitempty"`
}

// The states of an Endpoint.
const (
	StaticEndpoint   = "static"        // an address that is configured
	ResolvedEndpoint = "resolved"      // an address that DNS has for the name
	OriginalEndpoint = "original"      // resolution NONE: where the application was going
	OtherEndpoint    = "other"         // not in the configuration: one that an application chose, of a wildcard's name, or that DNS has replaced
	EjectedEndpoint  = "ejected"       // by outlier detection, until ejectedUntil: error says after which failure
	AskedEndpoint    = "asked"         // a wildcard's: each name that is asked for
	UnaskedEndpoint  = "not looked up" // nobody has wanted the name yet, or not lately
	FailedEndpoint   = "failed"        // the name has no address: error says why
)

// Connection is an application's connection.
type Connection struct {
	Source      string     `json:"source"`
	Destination string     `json:"destination"`
	Protocol    string     `json:"protocol"`
	Cluster     string     `json:"cluster,omitempty"`
	ServerName  string     `json:"serverName,omitempty"`
	Upstream    string     `json:"upstream,omitempty"`
	Since       *time.Time `json:"since,omitempty"`
}
