package mesh

import "net/netip"

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
	Passes       Fate = "passes"         // to where it was going: nobody registers it, and that passes
	Unregistered Fate = "not registered" // it is refused: nobody registers it, and the Policy is REGISTRY_ONLY
	Unrouted     Fate = "no route"       // 404: the host is registered, and no route of its takes the request
)

// serverName is what the proxy sees of it.
func (q Inquiry) serverName(readAs Traffic) string {
	if readAs != TLSTraffic {
		return ""
	}
	return q.ServerName
}

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
	// WouldRefuse says that the Policy is Observe, and REGISTRY_ONLY would not let it through.
	WouldRefuse bool
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
		v.unregistered(q, &e)
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
	e.Host = v.ChooseHTTP(q.Dst, q.Host)
	if e.Host == nil {
		v.unregistered(q, e)
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

func (v *View) unregistered(q Inquiry, e *Explanation) {
	e.WouldRefuse = v.Policy == Observe && (e.ReadAs == HTTPTraffic || v.Cuts(q.Dst, q.serverName(e.ReadAs)))
	switch {
	case !v.Passes():
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
