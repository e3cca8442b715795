package mesh

import (
	"bytes"
	"iter"
	"strings"
)

// zone is what the full names of a cluster's services end in: ".svc.cluster.local".
// Services have names of the form NAME.NAMESPACE.svc.cluster.local there, and applications
// say NAME.NAMESPACE.svc, NAME.NAMESPACE or, in the same namespace, NAME.
type zone string

func newZone(domain string) zone {
	if domain = canonicalHost(domain); domain == "" {
		domain = DefaultClusterDomain
	}
	return zone(".svc." + domain)
}

// qualify gives the full name of a short one, as Istio reads it in a namespace.
func (z zone) qualify(host, namespace string) string {
	if host == "" || strings.ContainsAny(host, ".*") {
		return host
	}
	return host + "." + namespace + string(z)
}

// short gives the short form of a name that qualify may have made.
func (z zone) short(host string) (string, bool) {
	rest, ok := strings.CutSuffix(host, string(z))
	short, _, dotted := strings.Cut(rest, ".")
	return short, ok && dotted && short != "" && short != host
}

// mayQualify says whether a short name may mean a full one.
func (z zone) mayQualify(name []byte) bool { return bytes.HasSuffix(name, []byte(z)) }

// namespaceOf is the namespace in a full name, "" in any other.
func (z zone) namespaceOf(host string) string {
	rest, ok := strings.CutSuffix(host, string(z))
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 0 {
		return ""
	}
	return rest[dot+1:]
}

// ways are how a name may be short for a full one.
const ways = 3

// lengthen writes the full name that a name, or a wildcard, may be short for in one of the
// ways, in a namespace, "" for one without services: in the order in which the cluster's
// resolv.conf has search domains, which is what the application's resolver has gone by.
// It gives nothing where the name cannot be short in this way, or is too long.
func (z zone) lengthen(to []byte, name []byte, way int, namespace string) []byte {
	if len(name) == 0 || string(name) == "*" || name[len(name)-1] == '.' || len(name)+len(namespace)+1+len(z) > cap(to) {
		return nil
	}
	to = append(to[:0], name...)
	switch way {
	case 0:
		if namespace == "" {
			return nil
		}
		return append(append(append(to, '.'), namespace...), z...)
	case 1:
		if bytes.IndexByte(name, '.') < 0 {
			return nil
		}
		return append(to, z...)
	}
	short, ok := bytes.CutSuffix(name, []byte(".svc"))
	if !ok || bytes.IndexByte(short, '.') < 0 {
		return nil
	}
	return append(to, z[len(".svc"):]...)
}

// full gives the full names that a name may be short for.
func (v *View) full(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var room [maxHostLength + 1]byte
		for way := range ways {
			if long := v.snapshot.zone.lengthen(room[:0], []byte(name), way, v.key.namespace); long != nil && !yield(string(long)) {
				return
			}
		}
	}
}

// abbreviates says whether a name may be short for a full one, and whether for one that a
// service or a VirtualService has by that very name: a VirtualService may have a shorter
// one. It allocates nothing.
func (v *View) abbreviates(name []byte) (may, named bool) {
	s := v.snapshot
	if s.zoned.count == 0 {
		return false, false
	}
	var room [maxHostLength + 1]byte
	for way := range ways {
		long := s.zone.lengthen(room[:0], name, way, v.key.namespace)
		if long == nil {
			continue
		}
		if s.names(long) {
			return true, true
		}
		if first := bytes.IndexByte(long, '.'); !may && first > 0 {
			_, may = getBytes(&s.routed.table, long[:first])
		}
	}
	return may, false
}
