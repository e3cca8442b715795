package core_test

import (
	"testing"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/selection"
)

// A pod has the view, the limits and the credentials of its name: no other is put upon
// one that ADD has named.
func TestANamedPodIsNotCalledByAnotherName(t *testing.T) {
	t.Parallel()
	named := selection.Pod{Namespace: "shop", Name: "web", UID: "1"}
	other := selection.Pod{Namespace: "bank", Name: "vault", UID: "2", Labels: map[string]string{"app": "vault"}}
	known := named
	known.Labels = map[string]string{"app": "web"}
	for name, said := range map[string]func(selection.Pod) core.Event{
		"a sweep": func(p selection.Pod) core.Event {
			return core.Found{Complete: true, Pods: []core.FoundPod{{Pod: id(1), PID: 4001, Known: true, Name: p}}}
		},
		"a source": func(p selection.Pod) core.Event { return core.Facts{Pod: id(1), Name: p} },
	} {
		s := core.New(core.Settings{})
		s.Step(1, core.Held{Pod: id(1), Files: 1, Name: named})
		for now, p := range []selection.Pod{other, known, other} {
			s.Step(int64(now+2), said(p))
			if got := s.Status().Pods[0].Name; got.Name != "web" || now > 0 && got.Labels["app"] != "web" {
				t.Errorf("%s: the pod is %+v", name, got)
			}
		}
	}
}
