package kube

import (
	"encoding/json"
	"maps"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/selection"
)

// pod is what Kubernetes says of one of this node's.
type pod struct {
	key         kubeapi.Key
	uid         string // of the object, for Events
	runtimeUID  string // as the kubelet named it to the runtime: a static pod's is another
	labels      map[string]string
	annotations map[string]string
	sidecar     string
	seen        bool // the runtime has named it
}

// mirrored is the annotation of the object that stands for a static pod: its value is
// what the kubelet takes for the pod's UID (kubetypes.ConfigMirrorAnnotationKey).
const mirrored = "kubernetes.io/config.mirror"

// readPod is nil for a pod that has no network of its own, or has ended.
func readPod(o kubeapi.Object) (*pod, error) {
	var p struct {
		Metadata struct{ Labels, Annotations map[string]string }
		Spec     struct {
			HostNetwork                bool
			Containers, InitContainers []struct{ Name string }
		}
		Status struct{ Phase string }
	}
	if err := json.Unmarshal(o.JSON, &p); err != nil {
		return nil, err
	}
	if p.Spec.HostNetwork || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
		return nil, nil
	}
	out := &pod{key: o.Key, uid: o.UID, runtimeUID: o.UID, labels: p.Metadata.Labels, annotations: selection.Heeded(p.Metadata.Annotations)}
	if uid := p.Metadata.Annotations[mirrored]; uid != "" {
		out.runtimeUID = uid
	}
	meshes := selection.SidecarContainers()
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if mesh := meshes[c.Name]; mesh != "" {
			out.sidecar = mesh
		}
	}
	return out, nil
}

// same says that nothing is another that anybody decides by.
func (p *pod) same(o *pod) bool {
	return p.runtimeUID == o.runtimeUID && p.sidecar == o.sidecar && maps.Equal(p.labels, o.labels) && maps.Equal(p.annotations, o.annotations)
}

// podsChanged takes in what the server tells. Whatever changes of a pod that the runtime
// has not named may be its sandbox: then the node is worth a look.
func (n *Node) podsChanged(d kubeapi.Delta) {
	look := false
	n.mu.Lock()
	for _, key := range d.Gone {
		delete(n.pods, key)
	}
	for _, o := range d.Changed {
		p, err := readPod(o)
		if err != nil {
			n.log.Warn("a pod cannot be read", "pod", o.Key.String(), "error", err)
			continue
		}
		before := n.pods[o.Key]
		delete(n.pods, o.Key)
		if p == nil {
			continue
		}
		switch {
		case before != nil && before.seen && before.same(p):
			p.seen = true
		case before != nil && before.seen && before.runtimeUID == p.runtimeUID:
			p.seen, look = true, true
		default:
			look = true
		}
		n.pods[o.Key] = p
	}
	if n.heard = n.heard || d.Complete && d.Err == nil; n.heard {
		n.memory.keep(n.pods)
	}
	n.mu.Unlock()
	if d.Complete {
		n.tell()
	}
	if look {
		n.nudge()
	}
}

// of is the pod that the runtime calls so, nil where Kubernetes knows none. Its UID alone
// would not do: an object names itself the static pod of any by an annotation. The caller
// holds n.mu.
func (n *Node) of(namespace, name, uid string) *pod {
	if p := n.pods[kubeapi.Key{Namespace: namespace, Name: name}]; p != nil && p.runtimeUID == uid && uid != "" {
		return p
	}
	return nil
}
