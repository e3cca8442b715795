package mesh

import "slices"

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
	if v.Egress != nil {
		f(v.Egress.Plain)
		f(v.Egress.TLS)
	}
	for way := range v.Ways(func(uint16, string) bool { return true }) {
		for _, to := range way.Destinations() {
			f(to.Cluster)
		}
	}
}

// Now gives the cluster that takes the place of an earlier view's: of the same name and
// fingerprint, but used as the configuration wants it now. nil: there is none, since its
// host or subset is gone, or is reached in another way.
func (v *View) Now(c *Cluster) *Cluster {
	entry := finder(v.reachable).find(c.Host)
	if entry == nil {
		return nil
	}
	p, ok := entry.on(c.Port)
	if !ok {
		return nil
	}
	d := derivation{View: v}
	for _, opaque := range []bool{false, true} {
		now := d.subsetCluster(c.Host, p, c.Subset, opaque)
		if now != nil && now.Name == c.Name && now.Fingerprint == c.Fingerprint {
			return now
		}
	}
	return nil
}

// Registers says whether services of a namespace have a host that the view may lead to;
// the namespace "" is that of a host which routes name and nobody registers.
func (v *View) Registers(host, namespace string) bool {
	_, led := v.snapshot.led.get(host)
	_, routed := v.snapshot.routed.get(host)
	if namespace == "" {
		return led || routed
	}
	entry := v.reachable(host)
	if entry == nil && (led || routed) { // a name below a wildcard
		entry = finder(v.reachable).find(host)
	}
	return entry != nil && slices.ContainsFunc(entry.services, func(s *service) bool { return s.namespace == namespace })
}
