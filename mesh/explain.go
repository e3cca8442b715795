package mesh

import (
	"fmt"
	"net/netip"
	"strings"
)

// Inquiry is a request or a connection that nobody sends.
type Inquiry struct {
	// Dst is where the application would be sending it. The address may be zero where
	// only a name is known.
	Dst netip.AddrPort
	// Speaks is what its first bytes are: TCPTraffic for all that is neither HTTP nor TLS.
	Speaks Traffic
	// Host and Request are of HTTP; Host is as MatchHTTP wants it.
	Host    []byte
	Request Request
	// ServerName is of TLS, as MatchTLS wants it.
	ServerName string
	// Owners say what names resolve to, as far as that is known.
	Owners Owners
}

// Fate is what becomes of it.
type Fate string

// The fates.
const (
	Routed       Fate = "routed"         // to one of the destinations
	Passes       Fate = "passes"         // to where it was going: nobody registers it, and the Policy is ALLOW_ANY
	Unregistered Fate = "not registered" // it is refused: nobody registers it, and the Policy is REGISTRY_ONLY
	Unrouted     Fate = "no route"       // 404: the host is registered, and no route of its takes the request
)

// Explanation is what a view says about an Inquiry. It is found by the very functions
// that the data path asks.
type Explanation struct {
	Fate Fate
	// ReadAs is how it is read: HTTP and TLS are opaque where only that is declared.
	ReadAs Traffic
	// Host and Passed are of HTTP: who is asked for, and the routes before the one that
	// takes the request, in order; all of them where none does.
	Host   *VirtualHost
	Passed []*HTTPRoute
	// HTTP is the route, and Condition the alternative of its matches that holds, nil
	// where it has none.
	HTTP      *HTTPRoute
	Condition *HTTPMatch
	Opaque    *TCPRoute // of TLS and TCP
	// Egress is the Sidecar's egressProxy, where that takes what nobody registers.
	Egress *Cluster
}

// Explain says what becomes of a request or connection.
func (v *View) Explain(q Inquiry) Explanation {
	e := Explanation{ReadAs: v.reads(q.Dst, q.Speaks)}
	switch e.ReadAs {
	case HTTPTraffic:
		v.explainHTTP(q, &e)
		return e
	case TLSTraffic:
		e.Opaque = v.ChooseTLS(q.Dst, q.ServerName, q.Owners)
	default:
		e.Opaque = v.ChooseTCP(q.Dst, q.Owners)
	}
	if e.Fate = Routed; e.Opaque == nil {
		v.unregistered(&e)
	}
	return e
}

// reads says how a connection is read that begins with such bytes.
func (v *View) reads(dst netip.AddrPort, speaks Traffic) Traffic {
	l := v.Listener(dst.Port())
	switch {
	case l != nil && l.DeclaredTCP(dst.Addr()):
		return TCPTraffic
	case speaks == HTTPTraffic && !l.ReadsHTTP(dst.Addr()):
		return TCPTraffic
	}
	return speaks
}

func (v *View) explainHTTP(q Inquiry, e *Explanation) {
	e.Host = v.ChooseHTTP(q.Dst.Port(), q.Host)
	if e.Host == nil {
		v.unregistered(e)
		return
	}
	e.HTTP, e.Condition = e.Host.Match(q.Request)
	for _, r := range e.Host.Routes {
		if r == e.HTTP {
			break
		}
		e.Passed = append(e.Passed, r)
	}
	if e.Fate = Routed; e.HTTP == nil {
		e.Fate = Unrouted
	}
}

func (v *View) unregistered(e *Explanation) {
	switch {
	case v.Policy != AllowAny:
		e.Fate = Unregistered
	case v.Egress != nil:
		e.Fate, e.Egress = Routed, v.Egress.For(e.ReadAs == TLSTraffic)
	default:
		e.Fate = Passes
	}
}

// Destinations are where it is sent, by weight.
func (e *Explanation) Destinations() []WeightedCluster {
	switch {
	case e.HTTP != nil:
		return e.HTTP.Destinations
	case e.Opaque != nil:
		return e.Opaque.Destinations
	case e.Egress != nil:
		return []WeightedCluster{{Cluster: e.Egress, Weight: 1}}
	}
	return nil
}

// Step is one thing that was found, and where it is written.
type Step struct {
	What   string `json:"what"`
	Says   string `json:"says"`
	Source Source `json:"source,omitzero"`
}

// maxPassed is how many routes that do not take the request are told one by one.
const maxPassed = 20

// Steps tells the way to the destinations.
func (v *View) Steps(q Inquiry, e *Explanation) []Step {
	out := []Step{v.portStep(q, e)}
	if e.ReadAs == HTTPTraffic {
		return append(out, v.httpSteps(q, e)...)
	}
	if e.ReadAs == TLSTraffic && q.ServerName != "" {
		out = append(out, Step{What: "server name", Says: q.ServerName})
	}
	if e.Opaque == nil {
		return append(out, v.nobodyStep(e, q.Dst.String()))
	}
	l := v.Listener(q.Dst.Port())
	by := "by address"
	switch {
	case e.ReadAs == TLSTraffic && q.ServerName != "" && l.MatchTLS(q.ServerName, q.Dst.Addr()) == e.Opaque:
		by = "by server name"
	case e.ReadAs == TCPTraffic && l.AddressedTCP(q.Dst.Addr()) != e.Opaque:
		by = "which has no addresses, by what its name leads to"
	}
	return append(out, Step{What: "route", Says: e.Opaque.Source.object() + ", " + by, Source: e.Opaque.Source})
}

func (v *View) portStep(q Inquiry, e *Explanation) Step {
	says := fmt.Sprintf("%d: ", q.Dst.Port())
	switch l := v.Listener(q.Dst.Port()); {
	case l == nil:
		says += "nobody registers a service on it; "
	case e.ReadAs != q.Speaks:
		return Step{What: "port", Says: says + "only an opaque protocol is declared, so the bytes are not looked at"}
	}
	return Step{What: "port", Says: says + map[Traffic]string{
		HTTPTraffic: "read as HTTP, and routed by Host", TLSTraffic: "TLS, which is not opened, routed by its server name", TCPTraffic: "opaque bytes, routed by address"}[e.ReadAs]}
}

func (v *View) nobodyStep(e *Explanation, what string) Step {
	if e.Egress != nil {
		return Step{What: "registry", Says: what + " is registered by nobody on this port, so the egressProxy has it (ALLOW_ANY)", Source: v.key.sidecar.resource.Source}
	}
	if e.Fate == Passes {
		return Step{What: "registry", Says: what + " is registered by nobody on this port, so it passes (ALLOW_ANY)"}
	}
	return Step{What: "registry", Says: what + " is registered by nobody on this port, so it is refused (REGISTRY_ONLY)"}
}

func (v *View) httpSteps(q Inquiry, e *Explanation) []Step {
	if e.Host == nil {
		return []Step{v.nobodyStep(e, string(q.Host))}
	}
	says := "registered"
	if e.Host.Host != string(q.Host) {
		says = "registered as " + e.Host.Host
	}
	out := []Step{{What: "host", Says: string(q.Host) + " is " + says}}
	for i, r := range e.Passed {
		if i == maxPassed {
			out = append(out, Step{What: "passed over", Says: fmt.Sprintf("%d more routes", len(e.Passed)-i)})
			break
		}
		out = append(out, Step{What: "passed over", Says: r.title() + " wants " + wanted(r.Match), Source: r.Source})
	}
	if e.HTTP == nil {
		return append(out, Step{What: "route", Says: "none takes the request"})
	}
	by := " takes every request"
	if e.Condition != nil {
		by = " takes it by " + e.Condition.String()
	}
	out = append(out, Step{What: "route", Says: e.HTTP.title() + by, Source: e.HTTP.Source})
	for _, s := range v.RuleSettings(e.HTTP) {
		out = append(out, Step{What: "written", Says: s.String(), Source: s.Source})
	}
	for _, says := range e.HTTP.Action.holds() {
		out = append(out, Step{What: "so", Says: says})
	}
	return out
}

// title is what a route is called: the object it is of and, where it has one, its name.
func (r *HTTPRoute) title() string {
	if r.Name == "" || r.Source.Kind != "VirtualService" {
		return r.Source.object()
	}
	return fmt.Sprintf("%s %q", r.Source.object(), r.Name)
}

func wanted(all []HTTPMatch) string {
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = all[i].String()
	}
	return strings.Join(texts, ", or ")
}

// ClusterSteps tells a cluster's service, policy and settings.
func (v *View) ClusterSteps(c *Cluster) []Step {
	if c.Unknown {
		return nil
	}
	service := fmt.Sprintf("%s: %s on port %d, %s, resolution %s", c.Source.object(), c.Host, c.Port, c.Protocol, c.Resolution)
	if c.TargetPort != c.Port {
		service += fmt.Sprintf(", target port %d", c.TargetPort)
	}
	out := []Step{{What: "service", Says: service, Source: v.ServiceAt(c)}}
	if c.PolicySrc.Kind != "" {
		says := c.PolicySrc.object()
		if c.Subset != "" {
			says += ", subset " + c.Subset
		}
		out = append(out, Step{What: "policy", Says: says, Source: c.PolicySrc})
	}
	wrapped := false
	for _, s := range v.PolicySettings(c) {
		wrapped = wrapped || s.Name == "tls" && !strings.Contains(s.Value, `"DISABLE"`)
		out = append(out, Step{What: "written", Says: s.String(), Source: s.Source})
	}
	says := c.Says()
	if wrapped && c.TLS == nil {
		says[0] = "the bytes go as they are: what is TLS already is not wrapped again"
	}
	for _, one := range says {
		out = append(out, Step{What: "so", Says: one})
	}
	return out
}
