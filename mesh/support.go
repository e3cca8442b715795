package mesh

import (
	"regexp"
	"slices"
	"strings"
)

// Every field of Istio's API is in one of three sets: it is followed (followed),
// leaving it out does no harm and is said (harmless), or it is refused by name.
// Whatever the two tables do not mention is refused, so that a field which a
// later Istio adds is never ignored in silence.

// followed lists the fields that sluice does what they say. A word with braces
// stands for each of its alternatives; [] is any item of a list or mapping.
var followed = map[string]map[string]bool{
	ServiceEntry: expand(
		"hosts[]", "addresses[]", "ports[].{number,name,protocol,targetPort}", "location", "resolution",
		"endpoints[].{address,weight,ports[],labels[]}", "exportTo[]", "subjectAltNames[]",
	),
	VirtualService: expand(
		"{hosts,gateways,exportTo}[]",
		"http[].{name,timeout}",
		"http[].match[].{name,port,ignoreUriCase,gateways[]}",
		"http[].match[].{uri,scheme,method,authority,headers[],withoutHeaders[],queryParams[]}.{exact,prefix,regex}",
		"tls[].match[].{port,sniHosts[],destinationSubnets[],gateways[]}",
		"tcp[].match[].{port,destinationSubnets[],gateways[]}",
		"{http,tls,tcp}[].route[].{weight,destination.host,destination.port.number}",
	),
	DestinationRule: expand(
		"host", "exportTo[]",
		"{trafficPolicy,trafficPolicy.portLevelSettings[]}.tls.{mode,sni,subjectAltNames[],caCertificates,clientCertificate,privateKey,insecureSkipVerify}",
		"{trafficPolicy,trafficPolicy.portLevelSettings[]}.connectionPool.tcp.connectTimeout",
		"trafficPolicy.portLevelSettings[].port.number",
	),
	Sidecar: expand("workloadSelector.labels[]", "egress[].{captureMode,hosts[]}", "outboundTrafficPolicy.mode"),
}

const (
	noLimit    = "no such limit is kept"
	ownBalance = "endpoints are balanced in sluice's own way"
	ownRetries = "Istio's default applies: two more tries where no connection could be made"
	inbound    = "sluice governs what leaves a workload, not what comes in"
)

// harmless lists the fields that change neither where a request goes nor how it
// is protected, with what happens instead.
var harmless = map[string]map[string]string{
	ServiceEntry: {
		"spec.endpoints[].locality":       "every endpoint is as near as any other",
		"spec.endpoints[].serviceAccount": "there is no mesh identity to check it with",
	},
	VirtualService: {
		"spec.http[].match[].statPrefix": "there are no such statistics",
		"spec.http[].retries":            ownRetries,
	},
	DestinationRule: perPolicy(map[string]string{
		"outlierDetection":                         "no endpoint is ejected",
		"loadBalancer.simple":                      ownBalance,
		"loadBalancer.localityLbSetting":           ownBalance,
		"loadBalancer.zoneAwareLbSetting":          ownBalance,
		"loadBalancer.warmupDurationSecs":          ownBalance,
		"loadBalancer.warmup":                      ownBalance,
		"connectionPool.tcp.maxConnections":        noLimit,
		"connectionPool.tcp.tcpKeepalive":          "the system's own keep-alive applies",
		"connectionPool.tcp.maxConnectionDuration": noLimit,
		"connectionPool.tcp.idleTimeout":           "sluice's own idle timeout applies",
		"connectionPool.http":                      noLimit,
		"retryBudget":                              "a request is tried once",
	}),
	Sidecar: {
		"spec.ingress":               inbound,
		"spec.inboundConnectionPool": inbound,
	},
}

// instead says what to use in place of a refused field; the others are just to be
// removed.
var instead = map[string]string{
	"credentialName": "use caCertificates, clientCertificate and privateKey",
	"subset":         "name a host of its own",
	"subsets":        "give each its own ServiceEntry",
	"egressProxy":    "route with a VirtualService",
}

func perPolicy(fields map[string]string) map[string]string {
	out := make(map[string]string, 2*len(fields))
	for field, reason := range fields {
		out["spec.trafficPolicy."+field] = reason
		out["spec.trafficPolicy.portLevelSettings[]."+field] = reason
	}
	return out
}

var (
	braces  = regexp.MustCompile(`\{([^{}]*)\}`)
	indexes = regexp.MustCompile(`\[[^\]]*\]`)
)

// expand writes out patterns, each with the fields around it.
func expand(patterns ...string) map[string]bool {
	out := map[string]bool{"spec": true}
	for _, pattern := range patterns {
		for _, field := range alternatives(pattern) {
			for path := "spec." + field; path != ""; path = parentPath(path) {
				out[path] = true
			}
		}
	}
	return out
}

func alternatives(pattern string) []string {
	found := braces.FindStringSubmatchIndex(pattern)
	if found == nil {
		return []string{pattern}
	}
	var out []string
	for one := range strings.SplitSeq(pattern[found[2]:found[3]], ",") {
		out = append(out, alternatives(pattern[:found[0]]+one+pattern[found[1]:])...)
	}
	return out
}

// support speaks about every field that is not followed; of a whole unsupported
// message only about its outermost.
func (c *checker) support() {
	told := ""
	for _, f := range c.r.fields {
		if !strings.HasPrefix(f.path, "spec") || told != "" && inside(f.path, told) {
			continue
		}
		general := indexes.ReplaceAllString(f.path, "[]")
		if followed[c.r.Kind][general] || !leaf(general, c.r.Kind) {
			continue
		}
		told = f.path
		if reason, ok := harmless[c.r.Kind][general]; ok {
			if c.refused(f.path) {
				continue
			}
			c.warn(f.path, "", "is not supported by this version of sluice, so it has no effect: %s", reason)
			continue
		}
		advice := "remove it"
		if hint, ok := instead[general[strings.LastIndexByte(general, '.')+1:]]; ok {
			advice += " and " + hint
		}
		c.error(f.path, "", "is not supported by this version of sluice; %s", advice)
	}
}

// refused says whether there is an error about a field.
func (c *checker) refused(path string) bool {
	return slices.ContainsFunc(c.issues, func(i Issue) bool { return i.Severity == Error && i.Field == path })
}

// leaf is false for a field that only holds others which are judged one by one.
func leaf(general, kind string) bool {
	for field := range harmless[kind] {
		if field != general && inside(field, general) {
			return false
		}
	}
	return true
}

// inside says whether a field is part of another.
func inside(path, outer string) bool {
	return strings.HasPrefix(path, outer) && len(path) > len(outer) && (path[len(outer)] == '.' || path[len(outer)] == '[')
}
