package kube

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
)

// services are the Services that there are, with the slices of those without an address.
type services struct {
	all    map[kubeapi.Key]kubeapi.Object // headless ones only: others are not needed again
	slices map[kubeapi.Key]slice          // by their own key
	of     map[kubeapi.Key]map[kubeapi.Key]bool
}

func newServices() services {
	return services{map[kubeapi.Key]kubeapi.Object{}, map[kubeapi.Key]slice{}, map[kubeapi.Key]map[kubeapi.Key]bool{}}
}

// service is what is read of a Service.
type service struct {
	Metadata struct{ Labels, Annotations map[string]string }
	Spec     struct {
		Type, ClusterIP, ExternalName string
		ClusterIPs                    []string
		Selector                      map[string]string
		Ports                         []struct {
			Name, Protocol, AppProtocol string
			Port                        uint16
			TargetPort                  json.RawMessage // a number, or a name of a pod's port
		}
	}
}

func (s *service) headless() bool { return s.Spec.Type != "ExternalName" && s.Spec.ClusterIP == "None" }

// slice is what is read of an EndpointSlice.
type slice struct {
	Metadata  struct{ Labels map[string]string }
	Endpoints []struct {
		Addresses  []string
		Conditions struct{ Ready *bool }
	}
	Ports []struct {
		Name, Protocol string
		Port           uint16
	}
}

const (
	exportTo    = "networking.istio.io/exportTo"
	serviceName = "kubernetes.io/service-name"
)

// serviceChange takes in what changed of Services.
func (s *Store) serviceChange(d kubeapi.Delta) (c change) {
	for _, o := range d.Changed {
		s.register(&c, o)
	}
	for _, key := range d.Gone {
		delete(s.services.all, key)
		s.forget(&c, id{kubeapi.Services, key})
	}
	return c
}

// sliceChange takes in what changed of headless Services' slices.
func (s *Store) sliceChange(d kubeapi.Delta) (c change) {
	touched := map[kubeapi.Key]bool{}
	for _, o := range d.Changed {
		var now slice
		if err := json.Unmarshal(o.JSON, &now); err != nil {
			s.log.Warn("an EndpointSlice cannot be read; its endpoints are as they were", "object", o.Key.String(), "error", err)
			s.feed.Keep(d.Kind, o.Key)
			continue
		}
		s.drop(o.Key, touched)
		owner := kubeapi.Key{Namespace: o.Namespace, Name: now.Metadata.Labels[serviceName]}
		s.services.slices[o.Key] = now
		if s.services.of[owner] == nil {
			s.services.of[owner] = map[kubeapi.Key]bool{}
		}
		s.services.of[owner][o.Key] = true
		touched[owner] = true
	}
	for _, key := range d.Gone {
		s.drop(key, touched)
	}
	for owner := range touched {
		if o, there := s.services.all[owner]; there {
			s.register(&c, o)
		}
	}
	return c
}

// drop takes a slice from the Service whose it was.
func (s *Store) drop(key kubeapi.Key, touched map[kubeapi.Key]bool) {
	before, there := s.services.slices[key]
	if !there {
		return
	}
	owner := kubeapi.Key{Namespace: key.Namespace, Name: before.Metadata.Labels[serviceName]}
	delete(s.services.slices, key)
	if delete(s.services.of[owner], key); len(s.services.of[owner]) == 0 {
		delete(s.services.of, owner)
	}
	touched[owner] = true
}

// register puts a Service in force. What is wrong with one is nobody's error here:
// Kubernetes has taken it, and it was not written for a mesh.
func (s *Store) register(c *change, o kubeapi.Object) {
	at := id{kubeapi.Services, o.Key}
	var read service
	if err := json.Unmarshal(o.JSON, &read); err != nil {
		s.object(at, o)
		s.feed.Keep(kubeapi.Services, o.Key)
		c.verdicts = append(c.verdicts, verdict{at, mesh.Issues{{
			Severity: mesh.Warning, File: where(at.kind, at.key), Kind: "Service", Namespace: o.Namespace, Name: o.Name,
			Message: "cannot be read: " + err.Error(),
		}}, true})
		return
	}
	if read.headless() {
		s.services.all[o.Key] = o
	} else {
		delete(s.services.all, o.Key)
	}
	r, issues := mesh.FromService(s.services.meaning(o.Key, &read), s.opts.ClusterDomain)
	var worth mesh.Issues
	for _, i := range issues {
		if i.Severity != mesh.Notice { // as of one that has UDP only
			i.Severity = mesh.Warning
			worth = append(worth, i)
		}
	}
	s.accept(c, at, o, r)
	c.verdicts = append(c.verdicts, verdict{at, worth, false})
}

// meaning is a Service in mesh's words.
func (s services) meaning(key kubeapi.Key, read *service) mesh.Service {
	out := mesh.Service{Namespace: key.Namespace, Name: key.Name, Labels: read.Metadata.Labels}
	for to := range strings.SplitSeq(read.Metadata.Annotations[exportTo], ",") {
		if to = strings.TrimSpace(to); to != "" {
			out.ExportTo = append(out.ExportTo, to)
		}
	}
	if read.Spec.Type == "ExternalName" {
		out.External = read.Spec.ExternalName
	}
	ports := map[string]uint16{}
	if read.headless() {
		out.Endpoints, out.Selectorless = s.endpoints(key, ports), len(read.Spec.Selector) == 0
	} else {
		addresses := read.Spec.ClusterIPs
		if len(addresses) == 0 {
			addresses = []string{read.Spec.ClusterIP} // of an API server before 1.20
		}
		for _, text := range addresses {
			if a, err := netip.ParseAddr(text); err == nil && out.External == "" {
				out.Addresses = append(out.Addresses, a)
			}
		}
	}
	for _, p := range read.Spec.Ports {
		if p.Protocol != "" && p.Protocol != "TCP" {
			continue
		}
		target := ports[p.Name]
		if number := uint16(0); target == 0 && json.Unmarshal(p.TargetPort, &number) == nil {
			target = number
		}
		if !read.headless() {
			target = 0
		}
		out.Ports = append(out.Ports, mesh.ServicePort{Name: p.Name, AppProtocol: p.AppProtocol, Port: p.Port, Target: target})
	}
	return out
}

// endpoints are those of a headless Service that are ready, in order, and the ports that
// their slices say.
func (s services) endpoints(key kubeapi.Key, ports map[string]uint16) []netip.Addr {
	seen := map[netip.Addr]bool{}
	for name := range s.of[key] {
		one := s.slices[name]
		for _, e := range one.Endpoints {
			if ready := e.Conditions.Ready; ready != nil && !*ready {
				continue // nil counts as ready (the API's word)
			}
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil { // an FQDN slice has names
					seen[a] = true
				}
			}
		}
		for _, p := range one.Ports {
			if p.Protocol == "TCP" {
				ports[p.Name] = p.Port
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), netip.Addr.Compare)
}
