package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// The hook of a chart that was rendered and applied whole takes nothing out.
func TestUninstallOfAReleaseLeavesWhatIsNone(t *testing.T) {
	t.Parallel()
	for annotations, want := range map[string]error{
		`{}`: ErrNotReleased,
		`{"app.kubernetes.io/managed-by":"Helm"}`:                                         ErrNotReleased,
		`{"meta.helm.sh/release-name":"sluice"}`:                                          ErrUnfinished,
		`{"argocd.argoproj.io/tracking-id":"sluice:apps/DaemonSet:sluice-system/agents"}`: ErrUnfinished,
		"": ErrUnfinished, // there is none any more
	} {
		t.Run(annotations, func(t *testing.T) {
			t.Parallel()
			s := apitest.New(t)
			if annotations != "" {
				s.Put(kubeapi.DaemonSets, `{"metadata":{"namespace":"sluice-system","name":"agents","annotations":`+annotations+`}}`)
			}
			set, err := ReadManifest([]byte(leavingSet))
			if err != nil {
				t.Fatal(err)
			}
			ctx, begun := context.WithCancel(t.Context())
			defer begun()
			err = Uninstall{Cluster: s.Cluster(), Set: set, Agents: []string{"agents"}, Released: true, Say: func(string) { begun() }, Wait: await.Patience, every: 10 * time.Millisecond}.Run(ctx)
			if began := s.Object(kubeapi.DaemonSets, leavingKey) != nil; !errors.Is(err, want) || began == (want == ErrNotReleased) {
				t.Errorf("began: %t, %v", began, err)
			}
		})
	}
}
