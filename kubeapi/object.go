package kubeapi

import (
	"encoding/json"
	"fmt"
	"time"
)

// Object is one object as the server has it, without what nobody here reads: see lean.
type Object struct {
	Key
	UID        string
	Generation int64     // of its spec
	Created    time.Time // in whole seconds
	JSON       []byte    // one line, keys in order; not to be changed
	Remembered bool      // it comes out of the journal: the server has not been heard yet
}

// header is what Object says outside of JSON.
type header struct {
	Metadata struct {
		Namespace, Name, UID string
		Generation           int64
		CreationTimestamp    time.Time
	}
}

// object reads lean JSON.
func object(lean []byte) (Object, error) {
	var h header
	if err := json.Unmarshal(lean, &h); err != nil {
		return Object{}, err
	}
	m := h.Metadata
	if m.Name == "" {
		return Object{}, fmt.Errorf("metadata.name: is missing")
	}
	return Object{Key: Key{m.Namespace, m.Name}, UID: m.UID, Generation: m.Generation, Created: m.CreationTimestamp, JSON: lean}, nil
}

// lastApplied is kubectl's copy of the whole object.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// lean takes out of an object what nobody here reads: it would be kept, journalled and
// reported as a change. That is managedFields, resourceVersion and selfLink, kubectl's
// copy of the object, the owners of all but pods, and the status but for a
// ServiceEntry's, a DaemonSet's and the phase and addresses of a pod. It changes the map.
func lean(k Kind, o map[string]any) {
	metadata, _ := o["metadata"].(map[string]any)
	for _, key := range []string{"managedFields", "resourceVersion", "selfLink"} {
		delete(metadata, key)
	}
	if k != Pods {
		delete(metadata, "ownerReferences")
	}
	if annotations, _ := metadata["annotations"].(map[string]any); annotations != nil {
		if delete(annotations, lastApplied); len(annotations) == 0 {
			delete(metadata, "annotations")
		}
	}
	switch k {
	case ServiceEntries, DaemonSets:
	case Pods:
		status, _ := o["status"].(map[string]any)
		kept := map[string]any{}
		for _, key := range []string{"phase", "podIP", "podIPs"} {
			if v, there := status[key]; there {
				kept[key] = v
			}
		}
		o["status"] = kept
	default:
		delete(o, "status")
	}
	if k == Nodes {
		spec, _ := o["spec"].(map[string]any)
		kept := map[string]any{}
		for _, key := range []string{"podCIDR", "podCIDRs", "taints"} {
			if v, there := spec[key]; there {
				kept[key] = v
			}
		}
		o["spec"] = kept
	}
}

// leanObject is the object that lean leaves of o.
func leanObject(k Kind, o map[string]any) (Object, error) {
	lean(k, o)
	return wholeObject(k, o)
}

func wholeObject(_ Kind, o map[string]any) (Object, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return Object{}, err
	}
	return object(data)
}
