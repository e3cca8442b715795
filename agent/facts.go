package agent

import (
	"context"

	"github.com/sluice-cni/sluice/agent/cri"
	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

// Facts know the pods of this node by name: a container runtime does, and Kubernetes.
// Pods is asked often, and must be cheap for pods that it has told of before. With an
// error some may be missing; those that it names are there.
type Facts interface {
	Pods(ctx context.Context) ([]Found, error)
}

// Found is a pod that somebody knows.
type Found struct {
	Netns     wire.Netns
	Path      string // where its namespace is bound; "" where only PID leads to it
	PID       int    // a process inside, 0 for none
	Pod       selection.Pod
	DNS       *selection.DNS // nil: not said
	Container string         // the sandbox, as CNI's ADD has it
}

// Runtime is a container runtime's word.
type Runtime struct{ *cri.Client }

// Pods are the sandboxes that run and have a namespace of their own, as far as it can
// be found from here.
func (r Runtime) Pods(ctx context.Context) ([]Found, error) {
	all, err := r.Sandboxes(ctx)
	var out []Found
	for _, s := range all {
		if s.HostNetwork {
			continue
		}
		f := Found{Path: s.Netns, PID: s.PID, Pod: s.Pod, DNS: s.DNS, Container: s.ID}
		var lost error
		if f.Netns, f.Path, lost = locate(s.Netns, s.PID); lost == nil {
			out = append(out, f)
		}
	}
	return certain(out), err
}

// certain leaves one pod for each namespace. A process may have ended and another pod's
// have its number: whom a file leads to is the pod, and who is found by a process is not.
func certain(all []Found) (out []Found) {
	at := map[wire.Netns]int{}
	for _, f := range all {
		i, taken := at[f.Netns]
		switch {
		case !taken:
			at[f.Netns] = len(out)
			out = append(out, f)
		case out[i].Path == "":
			out[i] = f
		}
	}
	return out
}

// locate identifies a namespace by its file, or by a process where that is out of
// reach: then there is no path.
func locate(path string, pid int) (wire.Netns, string, error) {
	if path != "" {
		if id, err := netns.Bound(path); err == nil {
			return id, path, nil
		}
	}
	id, err := netns.OfProcess(pid)
	return id, "", err
}
