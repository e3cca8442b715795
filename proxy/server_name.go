package proxy

import (
	"net/netip"

	"github.com/sluice-cni/sluice/mesh"
)

// sniFor is the server name to ask for when TLS is originated, and the one that the
// certificate must have unless the settings name others: the configured one, else the
// request's host as the server is sent it (Istio's auto_sni), else, for opaque bytes
// and where the host is an address, the name behind the cluster. host is lower case,
// without port and trailing dot; nil for opaque bytes.
func sniFor(c *mesh.Cluster, a asked, host []byte) string {
	switch {
	case c.TLS == nil:
		return ""
	case c.TLS.SNI != "":
		return c.TLS.SNI
	case len(host) == 0 || string(host) == c.Host || string(host) == a.name || !mesh.IsName(host) || isIP(host):
		return nameOf(c, a)
	}
	return string(host)
}

// sentHost is the host that the server is told it was asked for, by a request for host.
func (d *decision) sentHost(host []byte) []byte {
	if d.cluster.TLS == nil {
		return host // nobody needs it
	}
	if d.route == nil {
		return nil // an egress proxy's: nobody registers the host, so it names no server
	}
	if sent := d.edits().Authority; sent != "" {
		return appendHost(nil, []byte(sent))
	}
	return host
}

// isIP reports an address; no DNS name ends with a digit and is one.
func isIP(host []byte) bool {
	if last := host[len(host)-1]; last < '0' || last > '9' { // IPv6 is no name to begin with
		return false
	}
	_, err := netip.ParseAddr(string(host))
	return err == nil
}
