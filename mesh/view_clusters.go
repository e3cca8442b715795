package mesh

// Clusters lists every cluster that a route of the view leads to, each once, in
// no order. It walks the whole view.
func (v *View) Clusters() []*Cluster {
	seen := make(map[*Cluster]struct{})
	var all []*Cluster
	v.EachCluster(func(c *Cluster) {
		if _, known := seen[c]; !known {
			seen[c] = struct{}{}
			all = append(all, c)
		}
	})
	return all
}

// EachCluster is Clusters without a list: f is given a cluster as often as routes lead
// to it.
func (v *View) EachCluster(f func(*Cluster)) {
	each := func(destinations []WeightedCluster) {
		for i := range destinations {
			f(destinations[i].Cluster)
		}
	}
	for _, l := range v.listeners {
		l.eachHTTPRoute(func(r *HTTPRoute) { each(r.Destinations) })
		l.eachTCPRoute(func(r *TCPRoute) { each(r.Destinations) })
	}
}

func (l *Listener) eachHTTPRoute(f func(*HTTPRoute)) {
	for _, hosts := range []map[string]*VirtualHost{l.hosts, l.wildcards} {
		for _, vh := range hosts {
			for _, route := range vh.Routes {
				f(route)
			}
		}
	}
}

func (l *Listener) eachTCPRoute(f func(*TCPRoute)) {
	for _, names := range []map[string][]nameRoute{l.names, l.suffixes} {
		for _, routes := range names {
			for _, r := range routes {
				f(r.route)
			}
		}
	}
	for _, table := range []*prefixTable{&l.helloByIP, &l.tcpByIP, &l.anyByIP} {
		for _, r := range table.routes {
			f(r)
		}
	}
	for _, named := range l.tcpByName {
		f(named.Route)
	}
}
