package mesh

import (
	"fmt"
	"math/big"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) loadBalancer(path string, lb *networking.LoadBalancerSettings) {
	if lb == nil {
		return
	}
	c.value(path+".simple", lb.GetSimple().String())
	c.consistentHash(path+".consistentHash", lb.GetConsistentHash())
	c.warmup(path, lb)
	if lb.LocalityLbSetting != nil && lb.ZoneAwareLbSetting != nil {
		c.error(path+".zoneAwareLbSetting", "", "cannot be together with localityLbSetting; remove one of them")
	}
}

// maxTable bounds Envoy's maglev table.
const maxTable = 5_000_011

func (c *checker) consistentHash(path string, hash *networking.LoadBalancerSettings_ConsistentHashLB) {
	if hash == nil {
		return
	}
	switch key := hash.HashKey.(type) {
	case nil:
		c.error(path, "", "does not say what to hash; write httpHeaderName, httpCookie, httpQueryParameterName or useSourceIp")
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		if key.HttpCookie.GetName() == "" {
			c.error(path+".httpCookie.name", "", "is missing; name the cookie")
		}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		if !headerName.MatchString(key.HttpHeaderName) {
			c.error(path+".httpHeaderName", key.HttpHeaderName, "not a header name; write it without colon and spaces")
		}
	}
	if maglev := hash.GetMaglev(); maglev != nil && maglev.TableSize != 0 {
		if n := maglev.TableSize; n >= maxTable || !new(big.Int).SetUint64(n).ProbablyPrime(0) {
			c.error(path+".maglev.tableSize", fmt.Sprint(n), "not a prime below %d; use 65537, the default, or another one", maxTable)
		}
	}
}

func (c *checker) warmup(path string, lb *networking.LoadBalancerSettings) {
	//lint:ignore SA1019 it is accepted as long as Istio accepts it
	c.duration(path+".warmupDurationSecs", lb.WarmupDurationSecs, false)
	warmup := lb.GetWarmup()
	if warmup == nil {
		return
	}
	if warmup.Duration == nil {
		c.error(path+".warmup.duration", "", "is missing; say how long a new endpoint warms up")
	}
	c.duration(path+".warmup.duration", warmup.Duration, false)
	if warmup.MinimumPercent != nil {
		c.share(path+".warmup.minimumPercent", warmup.MinimumPercent)
	}
	if a := warmup.Aggression; a != nil && !(a.Value >= 1) {
		c.error(path+".warmup.aggression", fmt.Sprint(a.Value), "is too small; use 1 or more")
	}
}
