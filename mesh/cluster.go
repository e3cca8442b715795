package mesh

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"weak"
)

// clusterKey is what decides a cluster; views that agree on it share the cluster. opaque
// is for connections that are TLS already: they are never wrapped a second time.
type clusterKey struct {
	service *service // nil: nobody registers it
	host    string
	port    uint16
	rule    *rule
	subset  *subset // nil: all endpoints
	opaque  bool
	missing string // the subset that no rule has, where service is nil
}

// clusterCache gives the cluster of a key, the same one as long as anybody holds it:
// connections are pooled, and counted, by cluster, over all snapshots of an index.
type clusterCache struct {
	mu    sync.Mutex
	byKey map[clusterKey]weak.Pointer[Cluster]
}

func newClusterCache() *clusterCache {
	return &clusterCache{byKey: make(map[clusterKey]weak.Pointer[Cluster])}
}

func (x *clusterCache) get(key clusterKey, make func() *Cluster) *Cluster {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.byKey[key].Value(); c != nil {
		return c
	}
	c := make()
	x.byKey[key] = weak.Make(c)
	runtime.AddCleanup(c, x.forget, key)
	return c
}

// forget runs when a cluster is gone; there may be another by its key.
func (x *clusterCache) forget(key clusterKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byKey[key].Value() == nil {
		delete(x.byKey, key)
	}
}

func newCluster(key clusterKey, port servicePort) *Cluster {
	p := key.subset.policy(key.rule, port.number)
	c := &Cluster{
		Name:         clusterName(key.host, port.number, key.subset.called()),
		Host:         key.host,
		Port:         port.number,
		TargetPort:   port.target,
		Protocol:     p.version.on(port.protocol),
		Resolution:   key.service.resolution,
		Addresses:    key.service.addresses,
		PoolSettings: p.pool,
		Waits:        p.pool.Limits.Wait(),
		External:     key.service.external,
		Source:       key.service.source,
	}
	if p.passthrough {
		if c.Resolution == ResolveStatic { // which are where the name is
			c.Addresses = key.service.alsoEndpoints()
		}
		c.Resolution = ResolveNone
	}
	if c.Resolution != ResolveNone {
		c.Endpoints = key.service.endpointsOn(port)
	}
	c.EitherFamily = key.service.cluster && c.Resolution == ResolveStatic
	if key.rule != nil {
		c.PolicySrc = key.rule.source
	}
	if key.subset != nil {
		key.subset.narrow(c)
	}
	c.Tunnel = tunnelOf(key)
	if p.tls != nil && (!key.opaque || c.Tunnel != nil) { // a tunnel's is between us and the proxy
		c.TLS = tlsFor(p.tls, key.service.sans)
	}
	c.Fingerprint = fingerprint(c)
	return c
}

// tlsFor lets the rule's accepted names replace those of the ServiceEntry.
func tlsFor(settings *TLSSettings, sans []string) *TLSSettings {
	if len(settings.SubjectAltNames) > 0 || len(sans) == 0 {
		return settings
	}
	own := *settings
	own.SubjectAltNames = sans
	return &own
}

func unknownCluster(host string, port uint16, subset string) *Cluster {
	return &Cluster{
		Name: clusterName(host, port, subset), Host: host, Port: port, TargetPort: port, Subset: subset,
		PoolSettings: PoolSettings{ConnectTimeout: defaultConnectTimeout}, External: true, Unknown: true,
	}
}

func clusterName(host string, port uint16, subset string) string {
	return "outbound|" + strconv.Itoa(int(port)) + "|" + subset + "|" + host
}

// fingerprint hashes every setting that says what a connection is. Those that say how
// connections are used are not among them: a pool, with what it knows of its endpoints,
// outlives their change.
func fingerprint(c *Cluster) uint64 {
	h := settingsHash{fnv.New64a()}
	h.number(uint64(c.TargetPort), uint64(c.Protocol), uint64(c.Resolution))
	h.number(uint64(len(c.Addresses)))
	for _, a := range c.Addresses {
		h.prefix(a)
	}
	h.number(uint64(len(c.Endpoints)))
	for _, e := range c.Endpoints {
		h.prefix(netip.PrefixFrom(e.Addr, max(e.Addr.BitLen(), 0)))
		h.text(e.Name)
		h.number(uint64(e.Port), uint64(e.Weight))
	}
	if t := c.TLS; t != nil {
		h.number(uint64(t.Mode))
		h.text(t.SNI, t.CACertificates, t.ClientCertificate, t.PrivateKey, t.CRL, t.Credential, fmt.Sprint(t.InsecureSkipVerify))
		h.number(uint64(len(t.SubjectAltNames)))
		h.text(t.SubjectAltNames...)
	}
	if t := c.Tunnel; t != nil {
		h.text(t.Target, fmt.Sprint(t.Post))
	}
	return h.Sum64()
}

// settingsHash writes each value with its length, so that no two lists of
// settings are the same bytes.
type settingsHash struct{ hash.Hash64 }

func (h settingsHash) number(values ...uint64) {
	var b [8]byte
	for _, v := range values {
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
}

func (h settingsHash) text(values ...string) {
	for _, v := range values {
		h.number(uint64(len(v)))
		h.Write([]byte(v))
	}
}

func (h settingsHash) prefix(p netip.Prefix) {
	b := p.Addr().As16()
	h.Write(b[:])
	h.number(uint64(p.Addr().BitLen()), uint64(p.Bits()))
}
