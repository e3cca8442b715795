package discover

// meaning is what a setting's name says of its value.
type meaning struct {
	kind Kind
	form string
}

const (
	formGKE     = "GKE cluster"
	formEKS     = "EKS cluster"
	formAKS     = "AKS cluster"
	formICP     = "IBM Cloud Private configuration"
	formKubeadm = "kubeadm configuration"
	formProxy   = "kube-proxy configuration"
	formFlags   = "flags"
	formNode    = "Node"
	formService = "ServiceCIDR"
	formCalico  = "Calico IPPool"
)

// settings are the names that mean a range wherever they stand.
var settings = map[string]meaning{
	"clusterIpv4Cidr":       {Pods, formGKE},
	"clusterIpv4CidrBlock":  {Pods, formGKE},
	"podIpv4CidrBlock":      {Pods, formGKE},
	"servicesIpv4Cidr":      {Services, formGKE},
	"servicesIpv4CidrBlock": {Services, formGKE},
	"servicesIpv6Cidr":      {Services, formGKE},
	"servicesIpv6CidrBlock": {Services, formGKE},
	// Pods of a dual-stack cluster take their IPv6 addresses from the subnet.
	"subnetIpv6CidrBlock": {Pods, formGKE},

	"serviceIpv4Cidr": {Services, formEKS},
	"serviceIpv6Cidr": {Services, formEKS},

	"podCidr":      {Pods, formAKS},
	"podCidrs":     {Pods, formAKS},
	"serviceCidr":  {Services, formAKS},
	"serviceCidrs": {Services, formAKS},

	"service_cluster_ip_range": {Services, formICP},
	"network_cidr":             {Pods, formICP},

	"podSubnet":     {Pods, formKubeadm},
	"serviceSubnet": {Services, formKubeadm},
	"clusterCIDR":   {Pods, formProxy},

	"podCIDR":  {Pods, formNode},
	"podCIDRs": {Pods, formNode},
	// As `kubectl describe node` writes them.
	"PodCIDR":  {Pods, formNode},
	"PodCIDRs": {Pods, formNode},
}

// plurals hold what their singulars hold too.
var plurals = map[string]string{
	"podCIDR": "podCIDRs", "PodCIDR": "PodCIDRs", "podCidr": "podCidrs", "serviceCidr": "serviceCidrs",
}

// settingsOf are names that mean a range in objects of one kind only.
var settingsOf = map[string]map[string]meaning{
	"ServiceCIDR": {"cidrs": {Services, formService}},
	"IPPool":      {"cidr": {Pods, formCalico}},
}

// flags are those of the control plane's programs and of the installers.
var flags = map[string]meaning{
	"service-cluster-ip-range": {Services, formFlags},
	"service-cidr":             {Services, formFlags},
	"cluster-cidr":             {Pods, formFlags},
	"pod-network-cidr":         {Pods, formFlags},
	"pod-cidr":                 {Pods, formFlags},
}
