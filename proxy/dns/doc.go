// Package dns looks up addresses the way the proxy needs them: with their TTL,
// cached for everybody who asks, asked for again in the background while they are
// in use, and with the last good answer kept while the servers are silent.
//
// It reads /etc/hosts and resolv.conf as the C library does; it never serves DNS.
package dns
