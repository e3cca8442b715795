package mesh

import (
	"fmt"
	"strings"
)

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
		return append(out, v.nobodyStep(e, asked(q, e)))
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

// asked is what an opaque connection wants, as far as it is known.
func asked(q Inquiry, e *Explanation) string {
	name := ""
	if e.ReadAs == TLSTraffic {
		name = q.ServerName
	}
	switch {
	case !q.Dst.Addr().IsValid():
		return name
	case name == "":
		return q.Dst.String()
	}
	return name + " at " + q.Dst.String()
}

func (v *View) portStep(q Inquiry, e *Explanation) Step {
	says := fmt.Sprintf("%d: ", q.Dst.Port())
	switch l := v.Listener(q.Dst.Port()); {
	case l == nil:
		says += "nobody registers a service on it; "
	case e.ReadAs != q.Speaks:
		return Step{What: "port", Says: says + "only an opaque protocol is declared, so the bytes are not looked at"}
	}
	return Step{What: "port", Says: says + readText[e.ReadAs]}
}

var readText = map[Traffic]string{
	HTTPTraffic: "read as HTTP, and routed by Host",
	TLSTraffic:  "TLS, which is not opened, routed by its server name",
	TCPTraffic:  "opaque bytes, routed by address",
}

func (v *View) nobodyStep(e *Explanation, what string) Step {
	out := Step{What: "registry", Says: what + " is registered by nobody on this port, so it is refused (" + v.Policy.String() + ")"}
	switch {
	case e.Egress != nil:
		out.Says = what + " is registered by nobody on this port, so the egressProxy has it (" + v.Policy.String() + ")"
	case e.Fate == Passes:
		out.Says = what + " is registered by nobody on this port, so it passes (" + v.Policy.String() + ")"
	}
	if c := v.key.sidecar; c != nil && c.policy != nil && v.key.policy == 0 {
		out.Source = c.resource.Source
	}
	return out
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
