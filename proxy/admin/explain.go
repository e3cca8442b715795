package admin

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/vip"
)

// Explanation is the answer to an Inquiry.
type Explanation struct {
	Asked string `json:"asked"` // the inquiry in words
	// Allowed says that it goes on to a server, or is answered as a rule says.
	Allowed bool   `json:"allowed"`
	Answer  string `json:"answer"`
	// From is what was asked: the configuration directory, or a proxy.
	From  string      `json:"from,omitempty"`
	Steps []mesh.Step `json:"steps"`
	// Destinations are where it may go, each with its share.
	Destinations []ExplainedDestination `json:"destinations,omitempty"`
	Notes        []string               `json:"notes,omitempty"`
	// Register is a ServiceEntry that would let it through, "" where none can be written.
	Register string `json:"register,omitempty"`
}

// ExplainedDestination is one of the clusters that it may go to.
type ExplainedDestination struct {
	Cluster string  `json:"cluster"`
	Share   float64 `json:"share"`             // of 1
	Refused string  `json:"refused,omitempty"` // why it ends there
	// Steps are the service, what the DestinationRule says, and what holds.
	Steps     []mesh.Step `json:"steps"`
	Endpoints []Endpoint  `json:"endpoints,omitempty"`
}

// maxEndpoints are shown of a destination.
const maxEndpoints = 20

// Explain answers an inquiry from a view and what is known beside it.
func Explain(view *mesh.View, known Known, i Inquiry) (*Explanation, error) {
	q, err := i.Read()
	if err != nil {
		return nil, err
	}
	out := &Explanation{Asked: i.words(q), Steps: []mesh.Step{}}
	out.assumeAddress(view, known, i.looksUp(), &q)
	manner := known.Manner(q.Dst)
	if manner.Ungoverned {
		out.Allowed, out.Answer = true, "allowed: it is relayed as it is, since no policy applies to the address"
		return out, nil
	}
	owners := known.Owners(q.Dst.Addr())
	q.Owners = owners
	e := view.Explain(q)
	out.Steps = append(out.Steps, view.Steps(q, &e)...)
	for _, name := range owners.Unknown {
		out.Notes = append(out.Notes, fmt.Sprintf("whether %s has the address %s is not known here: the answer may differ", name, q.Dst.Addr()))
	}
	if manner.RefusesNoSNI && e.ReadAs == mesh.TLSTraffic && q.ServerName == "" {
		out.Answer = "refused: the connection is reset, TLS without a server name (--refuse-tls without-sni)"
		return out, nil
	}
	out.follow(view, known, q, &e)
	if i.SNI == "" && q.Speaks == mesh.TLSTraffic && i.headed() {
		out.Notes = append(out.Notes, "the application encrypts: path, method and headers are not seen")
	}
	return out, nil
}

func (i Inquiry) headed() bool { return len(i.Headers) > 0 || i.Method != "" }

// words is the inquiry as a person would say it.
func (i Inquiry) words(q mesh.Inquiry) string {
	switch {
	case i.URL != "":
		method := "GET"
		if i.Method != "" {
			method = i.Method
		}
		text := method + " " + clip(i.URL)
		if i.SNI != "" && q.Speaks == mesh.TLSTraffic {
			text += ", with the server name " + q.ServerName
		}
		if i.Dst != "" {
			text += ", sent to " + i.Dst
		}
		return text
	case q.Speaks == mesh.TLSTraffic:
		return "TLS for " + q.ServerName + " to " + q.Dst.String()
	}
	return "a connection to " + q.Dst.String()
}

// assumeAddress takes the address that the application is given for a name, where the
// configuration says which, else one that is known.
func (out *Explanation) assumeAddress(view *mesh.View, known Known, name string, q *mesh.Inquiry) {
	if q.Dst.Addr().IsValid() {
		if host := view.HostAt(q.Dst.Addr()); host != "" {
			out.Steps = append(out.Steps, mesh.Step{What: "address", Says: q.Dst.Addr().String() + " is the virtual one of " + host})
		}
		return
	}
	if n := view.Name(name); n != nil && len(n.Addresses) > 0 && !(n.Virtual && known.Manner(q.Dst).NoVirtual) {
		q.Dst = netip.AddrPortFrom(n.Addresses[0], q.Dst.Port())
		kind := "its ServiceEntry lists"
		if n.Virtual {
			kind = "is its virtual one, where sluice answers DNS"
		}
		out.Steps = append(out.Steps, mesh.Step{What: "address", Says: fmt.Sprintf("%s, which %s", q.Dst.Addr(), kind)})
		return
	}
	if all := known.Addresses(name); len(all) > 0 {
		q.Dst = netip.AddrPortFrom(all[0], q.Dst.Port())
		out.Steps = append(out.Steps, mesh.Step{What: "address", Says: fmt.Sprintf("%s, which DNS has for %s", all[0], name)})
		return
	}
	out.Steps = append(out.Steps, mesh.Step{What: "address", Says: "whatever DNS has for " + name + "; nothing is known of it here, --dst names one"})
}

// follow adds where it goes from there.
func (out *Explanation) follow(view *mesh.View, known Known, q mesh.Inquiry, e *mesh.Explanation) {
	http := e.ReadAs == mesh.HTTPTraffic
	switch {
	case e.Fate == mesh.Passes:
		out.Allowed, out.Answer = true, "allowed: it passes to where it was going"
		if e.WouldRefuse {
			out.Answer += "; REGISTRY_ONLY would refuse it"
			out.Register = registration(q, e.ReadAs)
		}
		return
	case e.Fate == mesh.Unregistered:
		out.Answer = "refused: " + answered(http, "502") + ", not registered"
		out.Register = registration(q, e.ReadAs)
		return
	case e.Fate == mesh.Unrouted:
		out.Answer = "refused: 404, no route takes the request"
		return
	}
	all := e.Destinations()
	if len(all) == 0 || http && e.HTTP != nil && e.HTTP.Action.Fault.AbortsAll() {
		out.Allowed, out.Answer = true, "answered by sluice, as the route says"
		return
	}
	var to, refused []string
	for i, share := range shares(all) {
		c := all[i].Cluster
		d := ExplainedDestination{Cluster: c.Name, Share: share, Refused: refusal(c, http), Steps: view.ClusterSteps(c)}
		if !c.Unknown {
			endpoints := known.Endpoints(c)
			d.Refused = cmp.Or(d.Refused, unreachable(c, http, endpoints))
			for _, s := range endpoints[:min(len(endpoints), maxEndpoints)] {
				d.Endpoints = append(d.Endpoints, endpointOf(c, s))
			}
			if name := proxy.ServerName(e.HTTP, &all[i], q.Dst, q.Host); name != "" && c.TLS.SNI == "" {
				d.Steps = append(d.Steps, mesh.Step{What: "so", Says: "server name " + name})
			}
			d.Steps = append(d.Steps, whereStep(c, q, known.Manner(q.Dst).RefusesMismatch)...)
		}
		out.Destinations = append(out.Destinations, d)
		if d.Refused != "" {
			refused = append(refused, d.Refused)
		} else {
			to = append(to, c.Name)
		}
	}
	switch {
	case len(to) == 0:
		out.Answer = "refused: " + strings.Join(refused, "; ")
	case len(refused) > 0:
		out.Allowed, out.Answer = true, fmt.Sprintf("allowed: to %s; some is refused: %s", strings.Join(to, " or "), strings.Join(refused, "; "))
	default:
		out.Allowed, out.Answer = true, "allowed: to "+strings.Join(to, " or ")
	}
}

// registration is an entry for what nobody registers. A virtual address is not to be
// registered: its name is.
func registration(q mesh.Inquiry, readAs mesh.Traffic) string {
	switch {
	case readAs == mesh.HTTPTraffic:
		return mesh.Registration(string(q.Host), q.Dst.Addr(), q.Dst.Port(), mesh.HTTP)
	case q.ServerName == "" && vip.Contains(q.Dst.Addr()):
		return ""
	case readAs == mesh.TLSTraffic:
		return mesh.Registration(q.ServerName, q.Dst.Addr(), q.Dst.Port(), mesh.TLS)
	}
	return mesh.Registration("", q.Dst.Addr(), q.Dst.Port(), mesh.TCP)
}

// shares are the parts of the destinations, of 1 together: without weights all are equal.
func shares(all []mesh.WeightedCluster) []float64 {
	total := uint64(0)
	for i := range all {
		total += uint64(all[i].Weight)
	}
	out := make([]float64, len(all))
	for i := range all {
		switch {
		case len(all) == 1:
			out[i] = 1
		case total == 0:
			out[i] = 1 / float64(len(all))
		default:
			out[i] = float64(all[i].Weight) / float64(total)
		}
	}
	return out
}

// answered is how something is refused: nothing but a reset is the same in all protocols.
func answered(http bool, status string) string {
	if http {
		return status
	}
	return "the connection is reset"
}

// unreachable is why no endpoint can be chosen, as far as it is known now: none has an
// address, or outlier detection leaves all out.
func unreachable(c *mesh.Cluster, http bool, all []proxy.EndpointStatus) string {
	failed, ejected := 0, 0
	for _, s := range all {
		switch {
		case !s.Live.EjectedUntil.IsZero():
			ejected++
		case s.Err != nil && !s.Addr.IsValid():
			failed++
		}
	}
	switch {
	case len(all) == 0 || failed+ejected < len(all):
		return ""
	case ejected == 0:
		return answered(http, "503") + " (UH): no endpoint has an address"
	case c.Outlier != nil && c.Outlier.MinHealth > 0:
		return "" // all are used again
	}
	return answered(http, "503") + " (UH): outlier detection leaves all endpoints out"
}

// refusal is why what goes to a cluster is refused, as far as its settings tell.
func refusal(c *mesh.Cluster, http bool) string {
	says := answered(http, "503")
	switch {
	case c.Unknown && c.Subset != "":
		return fmt.Sprintf("%s (NC): no DestinationRule has the subset %s of %s, or nobody registers that on port %d", says, c.Subset, c.Host, c.Port)
	case c.Unknown:
		return fmt.Sprintf("%s (NC): nobody registers %s on port %d", says, c.Host, c.Port)
	case c.Resolution == mesh.ResolveStatic && len(c.Endpoints) == 0:
		return says + " (UH): it has no endpoint"
	}
	return ""
}

// whereStep says what resolution NONE makes of the destination. Opaque bytes without a
// name are never sent anywhere else; strict: nothing is.
func whereStep(c *mesh.Cluster, q mesh.Inquiry, strict bool) []mesh.Step {
	if c.Resolution != mesh.ResolveNone {
		return nil
	}
	strict = strict || len(q.Host) == 0 && q.ServerName == ""
	if slices.ContainsFunc(c.Addresses, func(p netip.Prefix) bool { return p.Contains(q.Dst.Addr()) }) {
		return []mesh.Step{{What: "address", Says: "to the address that the application chose, which the ServiceEntry lists"}}
	}
	when, own := "DNS has it for the name", "to the name's own"
	if len(c.Addresses) > 0 {
		when, own = "the ServiceEntry lists it", "to one that it lists"
	}
	if strict {
		own = "it is refused"
	}
	return []mesh.Step{{What: "address", Says: "to the address that the application chose, if " + when + "; else " + own}}
}
