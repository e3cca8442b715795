package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"

	"github.com/sluice-cni/sluice/internal/wholefile"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/selection"
)

// mostRemembered bounds what is written and read, in bytes: a node's pods with large labels take less.
const mostRemembered = 4 << 20

// word is what Kubernetes said of a pod and a runtime does not know: it has the labels
// and annotations that the sandbox began with.
type word struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Sidecar     string            `json:"sidecar,omitempty"`
}

// memory keeps such words over a restart of the agent while the API server is away. Pods
// of which both say the same are not in it.
type memory struct {
	mu      sync.Mutex
	all     map[string]word // by the runtime's UID
	changed later
}

func newMemory() *memory { return &memory{all: map[string]word{}, changed: newLater()} }

// Remember has the file at path hold what a restart would lose: what Kubernetes said of
// pods that were labelled, or annotated, since they began. It must be called before the
// Feed runs. A file that cannot be read is as none, and is said.
func (n *Node) Remember(path string) {
	data, err := wholefile.Read(path, mostRemembered)
	if err == nil {
		err = json.Unmarshal(data, &n.memory.all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("what was last known of pods is lost; the container runtime's word holds until the API server answers", "file", path, "error", err)
	}
	if n.memory.all == nil {
		n.memory.all = map[string]word{}
	}
	n.tasks = append(n.tasks, func(ctx context.Context) {
		n.memory.changed.run(ctx, func() string {
			if err := n.memory.write(path); err != nil {
				return err.Error()
			}
			return ""
		}, func(wrong string) {
			n.log.Warn("what is known of pods cannot be written down", "file", path, "error", wrong)
		})
	})
}

func (m *memory) write(path string) error {
	m.mu.Lock()
	data, err := json.Marshal(m.all)
	m.mu.Unlock()
	if err == nil && len(data) >= mostRemembered {
		err = fmt.Errorf("%d bytes, more than are read back", len(data))
	}
	if err != nil {
		return err
	}
	return wholefile.Replace(path, append(data, '\n'), 0o600)
}

func (m *memory) get(uid string) (word, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, known := m.all[uid]
	return w, known
}

// compare keeps Kubernetes' word of a pod where it is another than the runtime's.
func (m *memory) compare(of *pod, runtime selection.Pod) {
	same := of.sidecar == "" && maps.Equal(of.labels, runtime.Labels) && maps.Equal(of.annotations, selection.Heeded(runtime.Annotations))
	m.mu.Lock()
	defer m.mu.Unlock()
	before, kept := m.all[of.runtimeUID]
	switch {
	case same && !kept:
		return
	case same:
		delete(m.all, of.runtimeUID)
	case kept && before.Sidecar == of.sidecar && maps.Equal(before.Labels, of.labels) && maps.Equal(before.Annotations, of.annotations):
		return
	default:
		m.all[of.runtimeUID] = word{of.labels, of.annotations, of.sidecar}
	}
	m.changed.touch()
}

// keep forgets all pods but those.
func (m *memory) keep(pods map[kubeapi.Key]*pod) {
	there := make(map[string]bool, len(pods))
	for _, p := range pods {
		there[p.runtimeUID] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for uid := range m.all {
		if !there[uid] {
			delete(m.all, uid)
			m.changed.touch()
		}
	}
}
