package demo

import (
	"net/netip"
	"strings"
)

// provider is one of the page's clusters: its --includeIPRanges to the letter,
// and an address in each range where a service of the cluster listens.
type provider struct {
	name     string
	ranges   string
	services []string
	note     string
}

var providers = []provider{
	{"Minikube", "10.0.0.1/24", []string{"10.0.0.10"}, ""},
	{"IBM Cloud Private", "10.0.0.1/24", []string{"10.0.0.10"}, ""},
	{"IBM Cloud Container Service", "172.30.0.0/16,172.20.0.0/16,10.10.10.0/24", []string{"172.30.0.10", "172.20.0.10", "10.10.10.10"}, ""},
	{"Google Container Engine (GKE)", "10.4.0.0/14,10.7.240.0/20", []string{"10.4.0.10", "10.7.240.10"}, "the second range lies inside the first, as on the page: no matter"},
	{"Azure Container Service (ACS)", "10.244.0.0/16,10.240.0.0/16", []string{"10.244.0.10", "10.240.0.10"}, ""},
}

// serviceHosts name the services of a cluster, one for each of its ranges.
var serviceHosts = []string{
	"inventory.default.svc.cluster.local",
	"orders.default.svc.cluster.local",
	"billing.default.svc.cluster.local",
}

func serviceNames() []string {
	var names []string
	for _, h := range serviceHosts {
		name, _, _ := strings.Cut(h, ".")
		names = append(names, name)
	}
	return names
}

// serviceAddresses are those of all providers, each once.
func serviceAddresses() []netip.Addr {
	var list []netip.Addr
	seen := map[string]bool{}
	for _, p := range providers {
		for _, a := range p.services {
			if !seen[a] {
				seen[a] = true
				list = append(list, netip.MustParseAddr(a))
			}
		}
	}
	return list
}

// inCluster registers the cluster's own services, as Kubernetes would have.
func inCluster() string {
	var b strings.Builder
	b.WriteString(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: in-cluster
spec:
  hosts:
`)
	for _, h := range serviceHosts {
		b.WriteString("  - " + h + "\n")
	}
	b.WriteString("  addresses:\n")
	for _, a := range serviceAddresses() {
		b.WriteString("  - " + a.String() + "\n")
	}
	b.WriteString(`  ports:
  - number: 80
    name: http
    protocol: HTTP
  resolution: NONE
`)
	return b.String()
}
