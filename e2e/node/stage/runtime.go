package stage

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/agent/cri/unary"
	"github.com/sluice-cni/sluice/agent/cri/unary/unarytest"
)

// runtime answers agents over CRI as containerd does, about the node's pods: without
// one an agent knows no names, and enrols nothing that was running before it.
type runtime struct {
	socket string

	mu   sync.Mutex
	pods map[string]*Pod // by container ID
}

func newRuntime(t testing.TB) *runtime {
	r := &runtime{pods: map[string]*Pod{}}
	r.socket = unarytest.Serve(t, unarytest.Methods{
		"Version": func([]byte) ([]byte, string) {
			return unary.Join(unary.Text(1, "0.1.0"), unary.Text(2, "stage"), unary.Text(3, "1.0.0")), "0"
		},
		"ListPodSandbox":   r.list,
		"PodSandboxStatus": r.status,
	})
	return r
}

// Known tells the runtime of a pod, as after its ADD, and of its end.
func (p *Pod) Known(is bool) {
	r := p.node.runtime
	r.mu.Lock()
	defer r.mu.Unlock()
	if is {
		r.pods[p.Name] = p
	} else {
		delete(r.pods, p.Name)
	}
}

func (r *runtime) list([]byte) (list []byte, code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.pods {
		list = append(list, unary.Message(1, unary.Text(1, id))...)
	}
	return list, "0"
}

func (r *runtime) status(request []byte) (answer []byte, code string) {
	var id string
	unary.Fields(request, func(f unary.Field) error {
		if f.Number == 1 {
			id = string(f.Bytes)
		}
		return nil
	})
	r.mu.Lock()
	p := r.pods[id]
	r.mu.Unlock()
	if p == nil {
		return nil, "5"
	}
	info := fmt.Sprintf(`{"config":{"dns_config":{"servers":[%q]}},"runtimeSpec":{"linux":{"namespaces":[{"type":"network","path":%q}]}}}`, p.node.o.Resolver, p.path)
	return unary.Join(
		unary.Message(1,
			unary.Text(1, id),
			unary.Message(2, unary.Text(1, p.Name), unary.Text(2, "uid-"+p.Name), unary.Text(3, p.Namespace)),
			unary.Message(5, unary.Text(1, p.Address.String())),
			unary.Map(8, p.Annotations)),
		unary.Map(2, map[string]string{"info": info}),
	), "0"
}
