package mesh

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// virtualService is a compiled VirtualService. Hosts of destinations stand as
// written; a view looks them up.
type virtualService struct {
	rank
	resource  *Resource
	source    Source
	namespace string
	scope     scope
	hosts     []string
	http      []httpRule
	tls       []tlsRule
	tcp       []tcpRule
	selectors []*selector // of all matches
}

type httpRule struct {
	name         string
	matches      []HTTPMatch
	destinations []destination // empty: the host that was asked for
	action       *HTTPAction
	source       Source
	path         string
}

type tlsRule struct {
	matches      []tlsMatch
	destinations []destination
	source       Source
	path         string
}

type tlsMatch struct {
	from    *selector
	hosts   []string
	subnets []netip.Prefix
	port    uint16
}

type tcpRule struct {
	matches      []tcpMatch // empty: everything
	destinations []destination
	source       Source
	path         string
}

type tcpMatch struct {
	from    *selector
	subnets []netip.Prefix
	port    uint16
}

type destination struct {
	host   string
	subset string // "": all endpoints
	port   uint16 // 0: the service's only one, else the request's
	weight uint32
	index  int // in the route, as written
	edits  *Edits
}

// compileVirtualService leaves out what is meant for gateways only.
func compileVirtualService(r *Resource, spec *networking.VirtualService) *virtualService {
	v := &virtualService{resource: r, source: r.Source, namespace: r.Namespace, scope: newScope(r.Namespace, spec.ExportTo)}
	if !forMesh(spec.Gateways) {
		return v
	}
	for _, host := range spec.Hosts {
		v.hosts = append(v.hosts, canonicalHost(host))
	}
	for i, route := range spec.Http {
		path := at("spec.http", i)
		if compiled, ok := v.compileHTTP(path, route); ok {
			compiled.path = path
			compiled.source = r.sourceAt(compiled.path)
			v.http = append(v.http, compiled)
		}
	}
	for i, route := range spec.Tls {
		if compiled, ok := v.compileTLS(route); ok {
			compiled.path = at("spec.tls", i)
			compiled.source = r.sourceAt(compiled.path)
			v.tls = append(v.tls, compiled)
		}
	}
	for i, route := range spec.Tcp {
		if compiled, ok := v.compileTCP(route); ok {
			compiled.path = at("spec.tcp", i)
			compiled.source = r.sourceAt(compiled.path)
			v.tcp = append(v.tcp, compiled)
		}
	}
	return v
}

// forMesh says whether a list of gateways takes in the workloads themselves.
func forMesh(gateways []string) bool {
	return len(gateways) == 0 || slices.Contains(gateways, "mesh")
}

func (r *Resource) sourceAt(path string) Source {
	s := r.Source
	s.Line, s.Field = r.line(path), path
	return s
}

// from is a match's selector.
func (v *virtualService) from(namespace string, labels map[string]string) *selector {
	s := newSelector(namespace, labels)
	if s != nil {
		v.selectors = append(v.selectors, s)
	}
	return s
}

// compileHTTP says false for a rule of which no alternative can ever apply.
func (v *virtualService) compileHTTP(path string, route *networking.HTTPRoute) (httpRule, bool) {
	out := httpRule{name: route.Name, action: compileAction(route)}
	out.action.Fault = compileFault(route.Fault, v.resource.has(path+".fault.delay.percent"))
	for _, m := range route.Match {
		if forMesh(m.Gateways) {
			match := compileMatch(m)
			match.from = v.from(m.SourceNamespace, m.SourceLabels)
			if m.Name != "" {
				match.RouteName = route.Name + "." + m.Name
			}
			out.matches = append(out.matches, match)
		}
	}
	for i, d := range route.Route {
		to := compileDestination(i, d.Destination, d.Weight)
		if to.edits = out.action.Edits; d.Headers != nil {
			to.edits = compileEdits(route, d.Headers)
		}
		out.destinations = append(out.destinations, to)
	}
	out.destinations = withoutZeroWeights(out.destinations)
	return out, len(route.Match) == 0 || len(out.matches) > 0
}

func compileMatch(m *networking.HTTPMatchRequest) HTTPMatch {
	return HTTPMatch{
		URI:            compileString(m.Uri, m.IgnoreUriCase),
		Scheme:         compileString(m.Scheme, false),
		Method:         compileString(m.Method, false),
		Authority:      compileString(m.Authority, false),
		Headers:        compileStrings(m.Headers, strings.ToLower),
		WithoutHeaders: compileStrings(m.WithoutHeaders, strings.ToLower),
		QueryParams:    compileStrings(m.QueryParams, strings.Clone),
		Port:           uint16(m.Port),
		IgnoreURICase:  m.IgnoreUriCase,
	}
}

func compileStrings(in map[string]*networking.StringMatch, name func(string) string) map[string]*StringMatch {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]*StringMatch, len(in))
	for k, m := range in {
		if out[name(k)] = compileString(m, false); out[name(k)] == nil {
			out[name(k)] = &StringMatch{} // only that the field is there
		}
	}
	return out
}

func compileString(m *networking.StringMatch, ignoreCase bool) *StringMatch {
	switch m := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return &StringMatch{Exact: m.Exact, Empty: m.Exact == "", IgnoreCase: ignoreCase}
	case *networking.StringMatch_Prefix:
		return &StringMatch{Prefix: m.Prefix, IgnoreCase: ignoreCase}
	case *networking.StringMatch_Regex:
		expression, err := regexp.Compile(wholeValue(m.Regex))
		if err != nil {
			return nil // validation refused it
		}
		return &StringMatch{Regex: expression}
	}
	return nil
}

// wholeValue makes an expression match all of a value or nothing.
func wholeValue(expression string) string { return `^(?:` + expression + `)$` }

func (v *virtualService) compileTLS(route *networking.TLSRoute) (tlsRule, bool) {
	out := tlsRule{destinations: compileDestinations(route.Route)}
	for _, m := range route.Match {
		if !forMesh(m.Gateways) {
			continue
		}
		match := tlsMatch{v.from(m.SourceNamespace, m.SourceLabels), nil, prefixes(m.DestinationSubnets), uint16(m.Port)}
		for _, host := range m.SniHosts {
			match.hosts = append(match.hosts, canonicalHost(host))
		}
		out.matches = append(out.matches, match)
	}
	return out, len(out.matches) > 0
}

func (v *virtualService) compileTCP(route *networking.TCPRoute) (tcpRule, bool) {
	out := tcpRule{destinations: compileDestinations(route.Route)}
	for _, m := range route.Match {
		if forMesh(m.Gateways) {
			from := v.from(m.SourceNamespace, m.SourceLabels)
			out.matches = append(out.matches, tcpMatch{from, prefixes(m.DestinationSubnets), uint16(m.Port)})
		}
	}
	return out, len(route.Match) == 0 || len(out.matches) > 0
}

func prefixes(texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		if p, ok := parsePrefix(text); ok {
			out = append(out, p)
		}
	}
	return out
}

func compileDestinations(routes []*networking.RouteDestination) []destination {
	var out []destination
	for i, d := range routes {
		out = append(out, compileDestination(i, d.Destination, d.Weight))
	}
	return withoutZeroWeights(out)
}

func compileDestination(index int, d *networking.Destination, weight int32) destination {
	return destination{
		host: canonicalHost(d.GetHost()), subset: d.GetSubset(), port: uint16(d.GetPort().GetNumber()),
		weight: uint32(max(weight, 0)), index: index,
	}
}

// withoutZeroWeights drops the destinations that get nothing. A single one takes
// everything, whatever its weight.
func withoutZeroWeights(in []destination) []destination {
	if len(in) < 2 {
		return in
	}
	return slices.DeleteFunc(in, func(d destination) bool { return d.weight == 0 })
}
