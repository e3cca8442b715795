package mesh

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) destinationRule(spec *networking.DestinationRule) {
	if spec.Host == "" {
		c.error("spec.host", "", "is missing; name the host that the rule is about")
	} else {
		c.hostName("spec.host", spec.Host)
	}
	c.exportTo(spec.ExportTo, false)
	if spec.TrafficPolicy == nil {
		return
	}
	const path = "spec.trafficPolicy"
	policy := spec.TrafficPolicy
	if c.empty(path) {
		c.error(path, "", "is empty; write tls or connectionPool, or leave it out")
	}
	c.clientTLS(path+".tls", policy.Tls)
	c.connectionPool(path+".connectionPool", policy.ConnectionPool)
	c.loadBalancer(path+".loadBalancer", policy.LoadBalancer)
	c.outlierDetection(path+".outlierDetection", policy.OutlierDetection)
	c.retryBudget(path+".retryBudget", policy.RetryBudget)
	c.portLevelSettings(path+".portLevelSettings", policy.PortLevelSettings)
}

// empty says that nothing was written inside a field.
func (c *checker) empty(path string) bool {
	for _, f := range c.r.fields {
		if inside(f.path, path) {
			return false
		}
	}
	return true
}

func (c *checker) portLevelSettings(path string, settings []*networking.TrafficPolicy_PortTrafficPolicy) {
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
		c.outlierDetection(item+".outlierDetection", p.OutlierDetection)
	}
}

func (c *checker) clientTLS(path string, tls *networking.ClientTLSSettings) {
	if tls == nil {
		return
	}
	c.value(path+".mode", tls.Mode.String())
	switch tls.Mode {
	case networking.ClientTLSSettings_ISTIO_MUTUAL:
	case networking.ClientTLSSettings_MUTUAL:
		c.needed(path+".clientCertificate", tls.ClientCertificate)
		c.needed(path+".privateKey", tls.PrivateKey)
	default:
		c.unusedCertificate(path+".clientCertificate", tls.ClientCertificate, tls.Mode)
		c.unusedCertificate(path+".privateKey", tls.PrivateKey, tls.Mode)
	}
	if tls.GetInsecureSkipVerify().GetValue() {
		if tls.CaCertificates != "" {
			c.error(path+".insecureSkipVerify", "true", "cannot be together with caCertificates; remove one of them")
		}
		if len(tls.SubjectAltNames) > 0 {
			c.error(path+".insecureSkipVerify", "true", "cannot be together with subjectAltNames; remove one of them")
		}
	}
	c.isPath(path+".caCertificates", tls.CaCertificates)
	c.isPath(path+".clientCertificate", tls.ClientCertificate)
	c.isPath(path+".privateKey", tls.PrivateKey)
	if tls.Sni != "" {
		c.serverName(path+".sni", tls.Sni)
	}
}

// isPath refuses what a file holds where its name is wanted, without repeating it:
// it may be a key.
func (c *checker) isPath(path, file string) {
	if isPEM(file) {
		c.error(path, "", "holds the text of a certificate or key; write the path of a file that holds it")
	}
}

func isPEM(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") }

func (c *checker) needed(path, file string) {
	if file == "" && !c.r.has(parentPath(path)+".credentialName") {
		c.error(path, "", "is missing; mode MUTUAL presents a certificate: name its file")
	}
}

func (c *checker) unusedCertificate(path, file string, mode networking.ClientTLSSettings_TLSmode) {
	if file != "" && !isPEM(file) {
		c.warn(path, file, "mode %s presents no certificate, so it has no effect; use mode MUTUAL", mode)
	}
}

func (c *checker) serverName(path, name string) {
	switch {
	case isAddress(name):
		c.error(path, name, "an address is never sent as SNI; write a name")
	case strings.Contains(name, "*"):
		c.error(path, name, "a wildcard cannot be sent as SNI; write a name")
	default:
		c.hostName(path, name)
	}
}
