package kubeapi

import (
	"context"
	"encoding/json"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// changeTries bounds how often Change begins anew where others write too.
const changeTries = 5

// Change reads an object whole, asks patch for a JSON merge patch (RFC 7396) of it, and
// writes that if nobody else has written the object meanwhile; else it begins anew. A nil
// patch changes nothing. It needs the verbs get and patch.
func (c *Cluster) Change(ctx context.Context, k Kind, key Key, patch func(object map[string]any) map[string]any) error {
	var err error
	for range changeTries {
		err = c.try(ctx, "patch", k, key, func(ctx context.Context, r dynamic.ResourceInterface) error {
			u, err := r.Get(ctx, key.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			change := patch(u.Object)
			if change == nil {
				return nil
			}
			metadata, _ := change["metadata"].(map[string]any)
			if metadata == nil {
				metadata = map[string]any{}
				change["metadata"] = metadata
			}
			metadata["resourceVersion"] = u.GetResourceVersion()
			data, err := json.Marshal(change)
			if err != nil {
				return err
			}
			_, err = r.Patch(ctx, key.Name, types.MergePatchType, data, metav1.PatchOptions{DryRun: c.dry(), FieldManager: manager})
			return err
		})
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}
