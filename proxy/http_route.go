package proxy

import (
	"runtime"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// decision is what the snapshot says about a request: a cluster to send it to,
// or a reply when its status is not zero.
type decision struct {
	localReply
	cluster     *mesh.Cluster
	route       *mesh.HTTPRoute       // nil: there is no rule about it
	condition   *mesh.HTTPMatch       // by which route took it; nil: it takes everything
	destination *mesh.WeightedCluster // the one of route's that was drawn
	delay       time.Duration         // how long it is held back first
	unwritten   bool                  // its path is still to be rewritten
	undecided   bool                  // it is a goroutine's to decide, and there is nothing else
}

// timeout is the route's; 0 is none.
func (d *decision) timeout() time.Duration {
	if d.route == nil {
		return 0
	}
	return d.route.Action.Timeout
}

// waits says that only a goroutine can do what was decided.
func (d *decision) waits() bool {
	return d.delay > 0 || d.unwritten || d.cluster.Waits || speaksHTTP2(d.cluster, false)
}

// slowRoutes has places for choosing among routes where that takes long, for seconds perhaps:
// half of the processors are for all else.
var slowRoutes = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// decide finds the route of a request, of whatever version of HTTP, and notes it
// in its entry. host is lower case, without port and trailing dot.
func (c *connection) decide(st *state, host []byte, r mesh.Request, e *entry) decision {
	vh := st.view.ChooseHTTP(c.dst, host)
	if vh == nil {
		d := c.unregistered(st, e)
		c.cluster.Store(e.cluster)
		return d
	}
	slow := vh.Slow(len(r.Path()), int(e.headReceived))
	if slow && e.hurried {
		return decision{undecided: true}
	}
	route, condition := c.match(vh, r, slow)
	if route == nil {
		return refusal(404, "NR", "route_not_found")
	}
	if e.route = route.Name; condition != nil && condition.RouteName != "" {
		e.route = condition.RouteName
	}
	if answer := route.Action.Answer; answer != nil {
		return c.answered(answer, route, condition, r)
	}
	destination := pickDestination(route.Destinations, c.server.random())
	e.cluster = destination.Cluster
	c.cluster.Store(e.cluster)
	d := decision{cluster: e.cluster}
	if e.cluster.Unknown {
		d = refusal(503, "NC", "cluster_not_found")
	}
	d.route, d.condition, d.destination = route, condition, destination
	if fault := route.Action.Fault; fault != nil {
		d.inject(fault)
	}
	return d
}

// match chooses among a host's routes; nil: none takes the request, or the proxy has ended.
func (c *connection) match(vh *mesh.VirtualHost, r mesh.Request, slow bool) (*mesh.HTTPRoute, *mesh.HTTPMatch) {
	if slow {
		select {
		case slowRoutes <- struct{}{}:
			defer func() { <-slowRoutes }()
		case <-c.server.life.Done():
			return nil, nil
		}
	}
	return vh.Match(r)
}

// answered is what a rule answers by itself.
func (c *connection) answered(answer *mesh.Answer, route *mesh.HTTPRoute, condition *mesh.HTTPMatch, r mesh.Request) decision {
	d := refusal(answer.Status, "-", "direct_response")
	d.route, d.body = route, answer.Body
	if answer.To != nil {
		d.extra = http2.Field{Name: "location", Value: answer.To.Location(r, condition, c.dst.Port())}
	}
	return d
}

// unregistered decides about a host that nobody registers on this port.
func (c *connection) unregistered(st *state, e *entry) decision {
	if st.view.Passes() {
		e.route, e.cluster = "allow_any", beyond(st, false)
		c.wouldRefuse(st, e, Unregistered)
		if e.cluster.Unknown {
			return refusal(503, "NC", "cluster_not_found")
		}
		return decision{cluster: e.cluster}
	}
	e.route, e.cluster = "block_all", blackHole
	return refusal(502, "-", "direct_response")
}

// beyond is where what nobody registers goes where it passes.
func beyond(st *state, secure bool) *mesh.Cluster {
	if st.view.Egress != nil {
		return st.view.Egress.For(secure)
	}
	return passthrough
}

func refusal(status int, flags, details string) decision {
	return decision{localReply: localReply{status: status, flags: flags, details: details}}
}

// askedFor is what a request with that host wants of an endpoint.
func (c *connection) askedFor(cluster *mesh.Cluster, host []byte) asked {
	a := asked{dst: c.dst}
	switch {
	case cluster.Resolution == mesh.ResolveNone && cluster != passthrough && isAddress(host, cluster):
		// An entry's address as Host: there is no name to resolve.
	case len(cluster.Host) > 0 && cluster.Host[0] == '*':
		a.name = string(host)
	default:
		a.name = cluster.Host
	}
	return a
}

// isAddress reports a Host that is one of the cluster's addresses, not a name.
func isAddress(host []byte, c *mesh.Cluster) bool {
	return len(c.Addresses) > 0 && len(host) > 0 && isIP(host)
}
