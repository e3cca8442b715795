package admin

import (
	"cmp"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

func (s Server) status() Status {
	w := s.Proxy.Workload()
	out := Status{Version: s.Version, PID: os.Getpid(), Command: s.Command,
		Namespace: w.Namespace, Workload: w.Name, Pod: w.Pod, Labels: w.Labels}
	if view := s.Proxy.View(); view != nil {
		out.Policy = view.Policy.String()
	}
	if err := s.Proxy.Ready(); err != nil {
		out.NotReady = err.Error()
	}
	return out
}

func (s Server) routes(q Question) List[Route] {
	out := List[Route]{Items: []Route{}}
	view := s.Proxy.View()
	if view == nil {
		return out
	}
	hidden := s.Proxy.Manner(netip.AddrPort{}).NoVirtual
	for way := range view.Ways(q.wants) {
		if hidden && virtual(view, way) {
			continue
		}
		if len(out.Items) == q.Limit {
			out.More++
			continue
		}
		out.Items = append(out.Items, routeOf(way))
	}
	return out
}

// virtual says that a way is that of a virtual address.
func virtual(view *mesh.View, way mesh.Way) bool {
	return len(way.Subnets) == 1 && way.Subnets[0].IsSingleIP() && view.HostAt(way.Subnets[0].Addr()) != ""
}

func routeOf(way mesh.Way) Route {
	out := Route{Port: way.Port, Traffic: string(way.Traffic), Host: way.Host, Subnets: way.Subnets}
	if r := way.HTTP; r != nil {
		out.Name, out.Source, out.Does = r.Name, r.Source, r.Action.Says()
		for i := range r.Match {
			out.Match = append(out.Match, r.Match[i].String())
		}
	} else {
		out.Name, out.Source = way.Opaque.Name, way.Opaque.Source
	}
	all := way.Destinations()
	for _, d := range all {
		one := Destination{Cluster: d.Cluster.Name}
		if len(all) > 1 {
			one.Weight = d.Weight
		}
		out.Destinations = append(out.Destinations, one)
	}
	return out
}

// clusterKey is what makes two clusters the same: a host's for TLS that passes through
// differs from its other where it originates TLS.
type clusterKey struct {
	name        string
	fingerprint uint64
}

// wantedClusters are those that the configuration in force leads to, each once, by host
// and port.
func (s Server) wantedClusters(q Question) []*mesh.Cluster {
	view := s.Proxy.View()
	if view == nil {
		return nil
	}
	seen := map[clusterKey]bool{}
	var out []*mesh.Cluster
	view.EachCluster(func(c *mesh.Cluster) {
		key := clusterKey{c.Name, c.Fingerprint}
		if !q.wants(c.Port, c.Host) || seen[key] {
			return
		}
		seen[key] = true
		out = append(out, c)
	})
	slices.SortFunc(out, func(a, b *mesh.Cluster) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), strings.Compare(a.Name, b.Name),
			cmp.Compare(modeOf(b), modeOf(a)), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return out
}

// modeOf is the mode of TLS that a cluster originates, 0 for none.
func modeOf(c *mesh.Cluster) mesh.TLSMode {
	if c.TLS == nil {
		return 0
	}
	return c.TLS.Mode
}

func (s Server) clusters(q Question) List[Cluster] {
	out := List[Cluster]{Items: []Cluster{}}
	pools := map[clusterKey]proxy.Pool{}
	for _, p := range s.Proxy.Pools() {
		pools[clusterKey{p.Cluster, p.Fingerprint}] = p
	}
	for _, c := range s.wantedClusters(q) {
		key := clusterKey{c.Name, c.Fingerprint}
		item := clusterOf(c)
		item.Active, item.Idle = pools[key].Active, pools[key].Idle
		delete(pools, key)
		out.add(item, q.Limit)
	}
	for _, item := range leaving(pools, q) {
		out.add(item, q.Limit)
	}
	return out
}

// leaving are the pools that the configuration in force no longer leads to, or that are
// no service's: what nobody registered, where that passes.
func leaving(pools map[clusterKey]proxy.Pool, q Question) []Cluster {
	var out []Cluster
	for key, p := range pools {
		parts := strings.SplitN(key.name, "|", 4)
		item := Cluster{Name: key.name, Active: p.Active, Idle: p.Idle}
		if len(parts) == 4 {
			item.Host, item.Leaving = parts[3], true
		}
		if q.Port == 0 && strings.Contains(item.Host, q.Host) && p.Active+p.Idle > 0 {
			out = append(out, item)
		}
	}
	slices.SortFunc(out, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func clusterOf(c *mesh.Cluster) Cluster {
	out := Cluster{Name: c.Name, Host: c.Host, Port: c.Port, Unknown: c.Unknown, TLS: modeOf(c).String(),
		Source: c.Source, Policy: c.PolicySrc}
	if !c.Unknown {
		out.Protocol, out.Resolution, out.Endpoints = c.Protocol.String(), c.Resolution.String(), len(c.Endpoints)
		out.Settings = c.Says()
	}
	return out
}

func (s Server) endpoints(q Question) List[Endpoint] {
	out := List[Endpoint]{Items: []Endpoint{}}
	last := ""
	for _, c := range s.wantedClusters(q) {
		if c.Unknown || c.Name == last { // with and without TLS they are the same
			continue
		}
		last = c.Name
		for _, e := range s.Proxy.Endpoints(c) {
			out.add(endpointOf(c, e), q.Limit)
		}
	}
	return out
}

func endpointOf(c *mesh.Cluster, e proxy.EndpointStatus) Endpoint {
	out := Endpoint{Cluster: c.Name, Name: e.Name, Port: e.Port, Weight: e.Weight, Labels: e.Labels}
	if e.Addr.IsValid() {
		out.Address = e.Addr.String()
	}
	out.Active, out.Connections = e.Live.Active, e.Live.Connections
	if !e.Live.EjectedUntil.IsZero() {
		out.Ejected, out.Error = &e.Live.EjectedUntil, e.Live.EjectedBy
	}
	switch {
	case out.Ejected != nil:
		out.State = EjectedEndpoint
	case e.Other:
		out.State = OtherEndpoint
	case e.Name == "" && !e.Addr.IsValid():
		out.State = OriginalEndpoint
	case e.Name == "":
		out.State = StaticEndpoint
	case e.Name[0] == '*':
		out.State = AskedEndpoint
	case !e.Known:
		out.State = UnaskedEndpoint
	case e.Addr.IsValid():
		out.State = ResolvedEndpoint
	default:
		out.State = FailedEndpoint
	}
	if e.Err != nil {
		out.Error = e.Err.Error()
	}
	if !e.Expires.IsZero() {
		out.Expires = &e.Expires
	}
	return out
}

// connections looks at as many as it may before it narrows them.
func (s Server) connections(q Question) List[Connection] {
	out := List[Connection]{Items: []Connection{}}
	all, open := s.Proxy.Connections(MaxLimit)
	slices.SortFunc(all, func(a, b proxy.ConnectionStatus) int { return a.Source.Compare(b.Source) })
	for _, c := range all {
		if q.wants(c.Destination.Port(), c.ServerName) || q.wants(c.Destination.Port(), c.Cluster) {
			out.add(connectionOf(c), q.Limit)
		}
	}
	out.More += max(open-len(all), 0) // accepted this moment, or beyond what is looked at
	return out
}

// maxServerName is DNS' limit: whatever is longer is not a name.
const maxServerName = 253

func connectionOf(c proxy.ConnectionStatus) Connection {
	out := Connection{Source: c.Source.String(), Destination: c.Destination.String(), Protocol: c.Protocol, Cluster: c.Cluster,
		ServerName: c.ServerName[:min(len(c.ServerName), maxServerName)], Upstream: text(c.Upstream)}
	if !c.Since.IsZero() {
		since := c.Since.Round(time.Millisecond)
		out.Since = &since
	}
	return out
}

func text(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
