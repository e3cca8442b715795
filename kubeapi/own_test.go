package kubeapi

import (
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func written(t *testing.T, manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
	t.Helper()
	e := metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, APIVersion: "networking.istio.io/v1", FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{}}
	if err := json.Unmarshal([]byte(fields), e.FieldsV1); err != nil {
		t.Fatal(err)
	}
	return e
}

// What kubectl wrote is taken over, but for what would do harm where an apply does not name it.
func TestWhatIsTakenOverOfKubectl(t *testing.T) {
	t.Parallel()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetResourceVersion("7")
	o.SetManagedFields([]metav1.ManagedFieldsEntry{
		written(t, "kubectl-client-side-apply", metav1.ManagedFieldsOperationUpdate,
			`{"f:metadata":{"f:annotations":{".":{},"f:kubectl.kubernetes.io/last-applied-configuration":{}},"f:finalizers":{".":{},"v:\"a/b\"":{}},"f:labels":{"f:app":{}},"f:ownerReferences":{"k:{\"uid\":\"1\"}":{}}},"f:spec":{"f:hosts":{}}}`),
		written(t, "somebody", metav1.ManagedFieldsOperationUpdate, `{"f:metadata":{"f:finalizers":{"v:\"c/d\"":{}}}}`),
	})
	want := map[string]string{
		"sluice Apply":                     `{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:hosts":{}}}`,
		"kubectl-client-side-apply Update": `{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}},"f:finalizers":{".":{},"v:\"a/b\"":{}},"f:ownerReferences":{"k:{\"uid\":\"1\"}":{}}}}`,
		"somebody Update":                  `{"f:metadata":{"f:finalizers":{"v:\"c/d\"":{}}}}`,
	}
	patch, err := ownPatch(o)
	if err != nil {
		t.Fatal(err)
	}
	var steps []struct {
		Path  string
		Value json.RawMessage
	}
	if err := json.Unmarshal(patch, &steps); err != nil || len(steps) != 2 || string(steps[1].Value) != `"7"` {
		t.Fatalf("%v: %s", err, patch)
	}
	var now []metav1.ManagedFieldsEntry
	if err := json.Unmarshal(steps[0].Value, &now); err != nil {
		t.Fatal(err)
	}
	for _, e := range now {
		text, _ := json.Marshal(e.FieldsV1)
		id := e.Manager + " " + string(e.Operation)
		if string(text) != want[id] {
			t.Errorf("%s has %s, not %s", id, text, want[id])
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("left out: %v", want)
	}
	o.SetManagedFields(now)
	if patch, err = ownPatch(o); err != nil || patch != nil {
		t.Errorf("a second time: %v: %s", err, patch)
	}
}
