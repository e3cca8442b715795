package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-cni/sluice/kubeapi"
)

// ErrNotReleased: nobody who runs a chart's hooks at its uninstallation has made what is there.
var ErrNotReleased = errors.New("no release of helm has made it, nor an Application of Argo CD")

// marks are the annotations of those who run a chart's hooks on all that they make: helm's, and
// of who is built on it, such as Flux (helm: pkg/action/validate.go), and Argo CD's, where it
// tracks by annotation, as it does by default.
var marks = []string{"meta.helm.sh/release-name", "argocd.argoproj.io/tracking-id"}

// released is an error where one of Agents has no such mark: then the hook was applied with
// the chart's other objects, as `helm template | kubectl apply` does, and nobody wants to
// uninstall anything. What is gone already is no objection.
func (u Uninstall) released(ctx context.Context) error {
	for _, name := range u.Agents {
		key := kubeapi.Key{Namespace: u.Set.Key().Namespace, Name: name}
		err := u.insist(ctx, func() error {
			set, err := u.get(ctx, key)
			if err == nil && !slices.ContainsFunc(marks, func(mark string) bool { return set.Metadata.Annotations[mark] != "" }) {
				err = fmt.Errorf("DaemonSet %s: %w", key, ErrNotReleased)
			}
			return err
		})
		if err != nil && !errors.Is(err, kubeapi.ErrNotFound) {
			return err
		}
	}
	return nil
}
