package mesh

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) destinationRule(spec *networking.DestinationRule) {
	if spec.Host == "" {
		c.error("spec.host", "", "is missing; name the host that the rule is about")
	} else {
		c.hostName("spec.host", spec.Host)
	}
	c.exportTo(spec.ExportTo, false)
	c.ruleSelector(spec)
	c.trafficPolicy("spec.trafficPolicy", spec.TrafficPolicy, "endpoints")
	c.subsets(spec.Subsets)
}

// trafficPolicy checks a rule's policy, or a subset's; endpoints are those that it is for.
func (c *checker) trafficPolicy(path string, policy *networking.TrafficPolicy, endpoints string) {
	if policy == nil {
		return
	}
	if c.empty(path) {
		c.error(path, "", "is empty; write tls or connectionPool, or leave it out")
	}
	c.clientTLS(path+".tls", policy.Tls)
	c.connectionPool(path+".connectionPool", policy.ConnectionPool)
	c.loadBalancer(path+".loadBalancer", policy.LoadBalancer)
	c.outlierDetection(path+".outlierDetection", policy.OutlierDetection, endpoints)
	c.tunnel(path+".tunnel", policy)
	c.retryBudget(path+".retryBudget", policy.RetryBudget)
	c.portLevelSettings(path+".portLevelSettings", policy.PortLevelSettings, endpoints)
}

// empty says that nothing was written inside a field.
func (c *checker) empty(path string) bool {
	for _, f := range c.r.fields {
		if inside(f.path.Value(), path) {
			return false
		}
	}
	return true
}

func (c *checker) portLevelSettings(path string, settings []*networking.TrafficPolicy_PortTrafficPolicy, endpoints string) {
	first := make(map[uint32]int)
	for i, p := range settings {
		item := at(path, i)
		number := p.GetPort().GetNumber()
		c.port(item+".port.number", number)
		if earlier, twice := first[number]; twice && number != 0 {
			c.error(item+".port.number", fmt.Sprint(number), "is there already, at %s[%d]; remove one", path, earlier)
		}
		first[number] = i
		if p.Tls == nil && p.ConnectionPool == nil && p.LoadBalancer == nil && p.OutlierDetection == nil {
			c.error(item, "", "says nothing about its port; write tls or connectionPool, or remove it")
		}
		c.clientTLS(item+".tls", p.Tls)
		c.connectionPool(item+".connectionPool", p.ConnectionPool)
		c.loadBalancer(item+".loadBalancer", p.LoadBalancer)
		c.outlierDetection(item+".outlierDetection", p.OutlierDetection, endpoints)
	}
}
