package mesh

// listener puts together all that is declared on one port.
func (b *oldBuilder) listener(use *portInUse) *oldListener {
	l := &oldListener{
		Port:      use.number,
		namespace: b.namespace,
		hosts:     make(map[string]*VirtualHost),
		wildcards: make(map[string]*VirtualHost),
		names:     make(map[string][]nameRoute),
		suffixes:  make(map[string][]nameRoute),
	}
	for _, h := range use.hosts {
		l.HTTP = l.HTTP || h.protocol == HTTP || h.protocol == HTTP2
		l.TLS = l.TLS || h.protocol == TLS
		l.Unset = l.Unset || h.protocol == Unset
	}
	b.addHTTP(l, use)
	b.addTLS(l, use)
	b.addTCP(l, use)
	return l
}

// addHTTP makes a virtual host of every host that may be asked for in HTTP.
func (b *oldBuilder) addHTTP(l *oldListener, use *portInUse) {
	if !l.HTTP && !l.Unset {
		return
	}
	for _, h := range use.hosts {
		if h.protocol == TLS || h.protocol == TCP {
			continue
		}
		vh := b.virtualHost(h.host, h, use.number)
		l.addVirtualHost(h.host, vh)
		for _, prefix := range b.addressesOf(h) {
			if prefix.IsSingleIP() {
				l.addVirtualHost(prefix.Addr().String(), vh)
				l.addVirtualHost("["+prefix.Addr().String()+"]", vh)
			}
		}
	}
	for _, host := range b.inexact {
		b.addUnregistered(l, use, host)
	}
}

// addUnregistered makes a virtual host of a VirtualService's host that no service
// has by that very name: one below a registered wildcard, on the wildcard's ports;
// one that nobody registers, wherever HTTP is spoken, as Istio does.
func (b *oldBuilder) addUnregistered(l *oldListener, use *portInUse, host string) {
	entry, below := b.visible.hosts.find(host)
	if !below {
		if !b.visible.knows(host) {
			if vh := b.virtualHost(host, hostOnPort{}, use.number); len(vh.Routes) > 0 {
				l.addVirtualHost(host, vh)
			}
		}
		return
	}
	p, ok := entry.on(use.number)
	if ok && p.protocol != TLS && p.protocol != TCP {
		l.addVirtualHost(host, b.virtualHost(host, hostOnPort{host, p}, use.number))
	}
}

func (l *oldListener) addVirtualHost(host string, vh *VirtualHost) {
	table := l.hosts
	if isWildcard(host) {
		table, host = l.wildcards, host[1:]
	}
	if table[host] == nil {
		table[host] = vh
	}
}

// virtualHost lists the routes of a host in order: those of the VirtualService
// that names it most exactly, else one to the host itself. A VirtualService of which
// nothing is for this port and workload is as good as none, as in Istio.
func (b *oldBuilder) virtualHost(host string, h hostOnPort, port uint16) *VirtualHost {
	vh := &VirtualHost{Host: host}
	if v, ok := b.byHost.find(host); ok {
		b.addRoutes(vh, v, port)
	}
	if len(vh.Routes) == 0 && h.service != nil {
		vh.Routes = []*HTTPRoute{{
			Name:         "default",
			Action:       plainAction,
			Destinations: []WeightedCluster{{Cluster: b.cluster(host, h.registeredPort, false), Weight: 1}},
			Source:       h.service.source,
		}}
	}
	return vh
}

func (b *oldBuilder) addRoutes(vh *VirtualHost, v *virtualService, port uint16) {
	for i := range v.http {
		rule := &v.http[i]
		matches, ok := matchesOn(rule.matches, port, b.workload)
		if !ok {
			continue
		}
		for i := range matches {
			vh.effort.add(&matches[i])
		}
		vh.Routes = append(vh.Routes, &HTTPRoute{
			Name:         rule.name,
			Match:        matches,
			Action:       rule.action,
			Destinations: b.destinations(rule.leads(vh.Host), v.namespace, port, false),
			Source:       rule.source,
		})
	}
}
