package discover

import (
	"fmt"
	"slices"
	"strings"
)

// Provider is where a cluster runs, and the ranges that clusters there are known to
// have.
type Provider struct {
	Names  []string // the short one first
	Title  string
	Ranges string // as they are usually given
	Fixed  bool   // every cluster there has them; otherwise they are an example's
	How    string // how to learn a cluster's own
}

// Providers lists those with ranges that people know by heart.
func Providers() []Provider {
	return []Provider{
		{[]string{"minikube"}, "Minikube", "10.0.0.1/24", true,
			"newer versions use 10.96.0.0/12: kubectl cluster-info dump | grep -m 1 service-cluster-ip-range | sluice cidr"},
		{[]string{"icp", "ibm-cloud-private"}, "IBM Cloud Private", "10.0.0.1/24", false,
			"sluice cidr cluster/config.yaml reads service_cluster_ip_range and network_cidr"},
		{[]string{"iks", "ibm-cloud-container-service", "ibm-cloud"}, "IBM Cloud Container Service", "172.30.0.0/16,172.20.0.0/16,10.10.10.0/24", true,
			"they are the same for every cluster there"},
		{[]string{"gke", "google-container-engine"}, "Google Container Engine", "10.4.0.0/14,10.7.240.0/20", false,
			"gcloud container clusters describe CLUSTER --zone=ZONE | sluice cidr"},
		{[]string{"acs", "azure-container-service"}, "Azure Container Service", "10.244.0.0/16,10.240.0.0/16", true,
			"they are the same for every cluster there; for AKS: az aks show -g GROUP -n CLUSTER | sluice cidr"},
	}
}

// ProviderNamed finds a provider by any of its names.
func ProviderNamed(name string) (Provider, error) {
	var known []string
	for _, p := range Providers() {
		if slices.Contains(p.Names, strings.ToLower(name)) {
			return p, nil
		}
		known = append(known, p.Names[0])
	}
	return Provider{}, fmt.Errorf("provider %q: not known; use %s, or read the cluster itself", name, strings.Join(known, ", "))
}

// Findings are the provider's ranges.
func (p Provider) Findings() Findings {
	r := &reader{name: "provider " + p.Names[0]}
	what := "default"
	if !p.Fixed {
		what = "example"
	}
	r.add(p.Ranges, meaning{Cluster, p.Title}, Source{File: r.name, Path: what})
	return r.findings
}
