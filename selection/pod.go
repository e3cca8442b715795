package selection

import "encoding/json"

// Pod is what is known of a pod. All of it may be missing: cnitool and engines other
// than Kubernetes' know no pods.
type Pod struct {
	Namespace, Name, UID string
	Annotations          map[string]string
	Labels               map[string]string // CNI brings none; a container runtime's or Kubernetes' do
	Workload             string            // of the owner, such as a Deployment's name
	// Sidecar is the mesh whose proxy is among the pod's containers, such as Istio; ""
	// for none, and where nobody looked: CNI tells of annotations only.
	Sidecar string
}

func (p Pod) String() string {
	if p.Name == "" {
		return "the container"
	}
	return "pod " + p.Namespace + "/" + p.Name
}

// Document is what ADD knows of a pod and the agent needs beside its sockets. The
// holder keeps it unread, on the node's disk too; the mark is why that is mode 0600.
type Document struct {
	Network     string                     `json:"network,omitempty"`     // the list's name
	Fields      map[string]json.RawMessage `json:"fields,omitempty"`      // Own of the entry, which ReadConf reads again
	Annotations map[string]string          `json:"annotations,omitempty"` // Heeded
	DNS         *DNS                       `json:"dns,omitempty"`         // nil: the runtime did not say
	Mark        uint32                     `json:"mark,omitempty"`        // of the agent's packets, where a cgroup cannot tell them
}

// DNS is what the pod's resolv.conf says, as the runtime hands it over (the CNI
// conventions' capability dns).
type DNS struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}
