package kubeapi

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"
)

// writers are managers that write whole objects out of people's files.
var writers = sets.New(manager, "kubectl-create", "kubectl-client-side-apply")

// own makes fields of writers this one's, as if it had applied them, if there are any: the
// next apply then takes out those that it does not name.
func (c *Cluster) own(ctx context.Context, r dynamic.ResourceInterface, o *unstructured.Unstructured) (now *unstructured.Unstructured, any bool, err error) {
	patch, err := ownPatch(o)
	if err != nil || len(patch) == 0 || c.dryRun {
		return o, len(patch) > 0, err
	}
	now, err = r.Patch(ctx, o.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: manager})
	return now, true, err
}

// ownPatch is a JSON patch of an object's managedFields, nil where all is as it should be.
func ownPatch(o *unstructured.Unstructured) ([]byte, error) {
	var moved, kept []metav1.ManagedFieldsEntry
	for _, entry := range o.GetManagedFields() {
		if entry.Manager == manager || entry.Operation != metav1.ManagedFieldsOperationUpdate || !writers.Has(entry.Manager) || entry.FieldsV1 == nil {
			moved = append(moved, entry)
			continue
		}
		rest, theirs, err := heldBack(entry)
		if err != nil {
			return nil, fmt.Errorf("managedFields of %s: %w", entry.Manager, err)
		}
		moved, kept = append(moved, rest...), append(kept, theirs...)
	}
	part := &unstructured.Unstructured{Object: map[string]any{}}
	part.SetResourceVersion(o.GetResourceVersion())
	part.SetManagedFields(moved)
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(part, writers, manager)
	if err != nil || len(patch) == 0 || len(kept) == 0 {
		return patch, err
	}
	var steps []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(patch, &steps); err != nil {
		return nil, err
	}
	for i := range steps {
		if steps[i].Path != "/metadata/managedFields" {
			continue
		}
		var all []metav1.ManagedFieldsEntry
		if err := json.Unmarshal(steps[i].Value, &all); err != nil {
			return nil, err
		}
		if steps[i].Value, err = json.Marshal(append(all, kept...)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(steps)
}

// heldBack divides what a manager wrote into what may be taken over, and what has to stay
// its own since its loss would do more than to undo a setting: a finalizer holds a deletion
// back, an owner's deletion takes the object along, and by its copy of the object kubectl
// knows what its next apply has to take out.
func heldBack(entry metav1.ManagedFieldsEntry) (rest, kept []metav1.ManagedFieldsEntry, err error) {
	var fields map[string]any
	text, err := json.Marshal(entry.FieldsV1)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		return nil, nil, err
	}
	metadata, _ := fields["f:metadata"].(map[string]any)
	held := map[string]any{}
	for _, key := range []string{"f:finalizers", "f:ownerReferences"} {
		if v, there := metadata[key]; there {
			held[key] = v
			delete(metadata, key)
		}
	}
	annotations, _ := metadata["f:annotations"].(map[string]any)
	if v, there := annotations["f:"+lastApplied]; there {
		held["f:annotations"] = map[string]any{"f:" + lastApplied: v}
		delete(annotations, "f:"+lastApplied)
	}
	if len(held) == 0 {
		return []metav1.ManagedFieldsEntry{entry}, nil, nil
	}
	if _, itself := annotations["."]; len(annotations) == 0 || itself && len(annotations) == 1 {
		delete(metadata, "f:annotations")
	}
	if len(metadata) == 0 {
		delete(fields, "f:metadata")
	}
	of := func(fields map[string]any) ([]metav1.ManagedFieldsEntry, error) {
		if len(fields) == 0 {
			return nil, nil
		}
		text, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		one := entry
		one.FieldsV1 = &metav1.FieldsV1{}
		return []metav1.ManagedFieldsEntry{one}, json.Unmarshal(text, one.FieldsV1)
	}
	if rest, err = of(fields); err == nil {
		kept, err = of(map[string]any{"f:metadata": held})
	}
	return rest, kept, err
}
