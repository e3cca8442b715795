package kubeapi

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is a kind of objects as the API has it. Version is the newest one that is asked
// for: where a server does not serve it, older ones that say the same are tried.
type Kind struct{ Group, Version, Resource, Name string }

// The kinds that sluice reads or writes.
var (
	ServiceEntries   = Kind{"networking.istio.io", "v1", "serviceentries", "ServiceEntry"}
	VirtualServices  = Kind{"networking.istio.io", "v1", "virtualservices", "VirtualService"}
	DestinationRules = Kind{"networking.istio.io", "v1", "destinationrules", "DestinationRule"}
	Sidecars         = Kind{"networking.istio.io", "v1", "sidecars", "Sidecar"}
	Services         = Kind{"", "v1", "services", "Service"}
	EndpointSlices   = Kind{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"}
	Namespaces       = Kind{"", "v1", "namespaces", "Namespace"}
	Pods             = Kind{"", "v1", "pods", "Pod"}
	Nodes            = Kind{"", "v1", "nodes", "Node"}
	ServiceCIDRs     = Kind{"networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR"}
	ConfigMaps       = Kind{"", "v1", "configmaps", "ConfigMap"}
	Secrets          = Kind{"", "v1", "secrets", "Secret"}
	Events           = Kind{"", "v1", "events", "Event"}
	DaemonSets       = Kind{"apps", "v1", "daemonsets", "DaemonSet"}
)

// String is how RBAC and kubectl name it: serviceentries.networking.istio.io, pods.
func (k Kind) String() string {
	if k.Group == "" {
		return k.Resource
	}
	return k.Resource + "." + k.Group
}

// APIVersion is what objects of it say: networking.istio.io/v1, v1.
func (k Kind) APIVersion() string {
	if k.Group == "" {
		return k.Version
	}
	return k.Group + "/" + k.Version
}

// Namespaced says whether its objects are in namespaces.
func (k Kind) Namespaced() bool { return k != Namespaces && k != Nodes && k != ServiceCIDRs }

// older lists versions to try after a kind's own, the newest first. Istio's CRDs serve
// v1 since 1.22, ServiceCIDR is v1 since Kubernetes 1.33; in both the older versions
// have the same fields.
var older = map[string][]string{
	"networking.istio.io": {"v1beta1", "v1alpha3"},
	"networking.k8s.io":   {"v1beta1"},
}

// versions are those to try, in order.
func (k Kind) versions() []schema.GroupVersionResource {
	out := []schema.GroupVersionResource{{Group: k.Group, Version: k.Version, Resource: k.Resource}}
	for _, v := range older[k.Group] {
		out = append(out, schema.GroupVersionResource{Group: k.Group, Version: v, Resource: k.Resource})
	}
	return out
}

// Key names an object among those of its kind. Namespace is "" where the kind has none.
type Key struct{ Namespace, Name string }

// String is namespace/name, or the name alone where there is no namespace.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Selector says which objects of a kind; the server applies it. "" selects all.
type Selector struct {
	Namespace string
	Fields    string // spec.nodeName=worker-1
	Labels    string // service.kubernetes.io/headless
}
