package dnsproxy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// verdict is whose a name is.
type verdict struct {
	kind kind
	// target is the name to answer: the one asked for, or what is left of it without
	// a search domain.
	target string
	host   *mesh.Name // registered; nil for every other kind
	// expanded says that target is what was left: the answer begins with a CNAME.
	expanded bool
	// doubtful says that the name as asked for may exist by itself, and is then what
	// was meant.
	doubtful bool
	addr     netip.Addr // of a virtual address's reverse name
}

type kind uint8

const (
	unregistered kind = iota
	registered
	reverse   // of a virtual address
	forbidden // unregistered, and policy says no
)

// ground is all that a verdict depends on beside the question.
type ground struct {
	view   *mesh.View
	search []string
	policy Policy
	allow  []string
}

// judge finds out whose a name is.
func (g *ground) judge(name string) verdict {
	// An escape in presentation form is a dot or worse inside a label. No registered
	// name has one, and no suffix of such a text is certain to be a domain.
	plain := !strings.Contains(name, `\`)
	if addr, ok := reverseAddr(name); ok && vip.Contains(addr) {
		return verdict{kind: reverse, target: name, addr: addr}
	}
	if plain {
		if host := g.find(name); host != nil {
			return verdict{kind: registered, target: name, host: host}
		}
		if v, ok := g.stripped(name); ok {
			return v
		}
	}
	v := verdict{kind: unregistered, target: name}
	if g.policy == RegistryOnly && !g.view.Passes() && !(plain && g.allowed(name)) {
		v.kind = forbidden
	}
	return v
}

// find looks a name up as registered, service labels in front of it left out:
// _mongodb._tcp.db.example.com says something about db.example.com (RFC 2782, 8552).
func (g *ground) find(name string) *mesh.Name {
	if host := g.view.Name(name); host != nil {
		return host
	}
	if rest := withoutServiceLabels(name); rest != name {
		return g.view.Name(rest)
	}
	return nil
}

// withoutServiceLabels cuts the labels off that begin with an underscore.
func withoutServiceLabels(name string) string {
	for strings.HasPrefix(name, "_") {
		_, rest, more := strings.Cut(name, ".")
		if !more {
			return name
		}
		name = rest
	}
	return name
}

// stripped looks for a registered name with a search domain behind it, as clients
// with ndots ask before they ask for the name itself.
func (g *ground) stripped(name string) (verdict, bool) {
	for _, domain := range g.search {
		rest, below := strings.CutSuffix(name, "."+domain)
		if !below || rest == "" {
			continue
		}
		if host := g.find(rest); host != nil {
			return verdict{kind: registered, target: rest, host: host, expanded: true, doubtful: g.mayExist(rest, domain)}, true
		}
	}
	return verdict{}, false
}

// mayExist says whether a name can exist below a search domain. In a cluster's own
// domains Kubernetes has fixed what there is (its DNS specification): before
// NAMESPACE.svc.ZONE two labels at most (a pod of a headless service), before
// svc.ZONE three, and before ZONE what ends in svc or pod. Elsewhere anything may be.
func (g *ground) mayExist(rest, domain string) bool {
	rest = withoutServiceLabels(rest)
	labels := strings.Count(rest, ".") + 1
	if zone := clusterZone(domain); zone != "" {
		if domain == "svc."+zone {
			return labels <= 3
		}
		return labels <= 2
	}
	if slices.ContainsFunc(g.search, func(other string) bool { return clusterZone(other) == domain }) {
		return labels == 1 || atOrBelow(rest, "svc") || atOrBelow(rest, "pod")
	}
	return true
}

// clusterZone finds ZONE in NAMESPACE.svc.ZONE or svc.ZONE, "" when it is neither.
func clusterZone(domain string) string {
	if zone, ok := strings.CutPrefix(domain, "svc."); ok {
		return zone
	}
	_, rest, _ := strings.Cut(domain, ".")
	zone, _ := strings.CutPrefix(rest, "svc.")
	if zone == rest {
		return ""
	}
	return zone
}

// allowed says whether policy lets an unregistered name through: the cluster's own,
// and those that the operator listed.
func (g *ground) allowed(name string) bool {
	cluster := "cluster.local"
	for _, domain := range g.search {
		if zone := clusterZone(domain); zone != "" {
			cluster = zone
			break
		}
	}
	if atOrBelow(name, cluster) {
		return true
	}
	for _, domain := range g.allow {
		if atOrBelow(name, domain) {
			return true
		}
	}
	return false
}

func atOrBelow(name, domain string) bool {
	rest, ok := strings.CutSuffix(name, domain)
	return ok && (rest == "" || rest[len(rest)-1] == '.')
}

// reverseAddr reads a reverse name (RFC 1035 §3.5, RFC 3596 §2.5): of a whole
// address only.
func reverseAddr(name string) (netip.Addr, bool) {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := dns.SplitDomainName(rest)
		if len(labels) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return a, err == nil && a.Is4()
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(rest) != 63 {
		return netip.Addr{}, false
	}
	var text strings.Builder
	for i := len(rest) - 1; i >= 0; i -= 2 {
		text.WriteByte(rest[i])
		if n := (len(rest) - i + 1) / 2; n%4 == 0 && n < 32 {
			text.WriteByte(':')
		}
		if i > 0 && rest[i-1] != '.' {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(text.String())
	return a, err == nil && a.Is6()
}
