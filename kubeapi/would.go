package kubeapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Would says what Apply would do, by what is there and who wrote it (managedFields),
// without asking the server to try it. A list of the spec is taken to be written as a whole,
// as Istio's definitions mostly have it.
func (c *Cluster) Would(ctx context.Context, k Kind, data []byte) (done string, err error) {
	u, key, err := parse(k, data)
	if err != nil {
		return "", err
	}
	var before *unstructured.Unstructured
	err = c.try(ctx, "get", k, key, func(ctx context.Context, r dynamic.ResourceInterface) (err error) {
		before, err = r.Get(ctx, key.Name, metav1.GetOptions{})
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return "created", nil
	}
	if err != nil {
		return "", err
	}
	own, err := ownAlone(before)
	if err != nil {
		return "", err
	}
	for _, part := range []string{"metadata", "spec"} {
		if !holds(before.Object[part], u.Object[part], part == "metadata") {
			return "configured", nil
		}
	}
	if goes(before.Object, u.Object, own) {
		return "configured", nil
	}
	return "unchanged", nil
}

// ownAlone are the fields that Apply counts as its own, and nobody else has.
func ownAlone(o *unstructured.Unstructured) (*fieldpath.Set, error) {
	own, others := fieldpath.NewSet(), fieldpath.NewSet()
	add := func(to **fieldpath.Set, entries ...metav1.ManagedFieldsEntry) (err error) {
		for _, e := range entries {
			of := fieldpath.NewSet()
			err = cmp.Or(err, of.FromJSON(e.FieldsV1.GetRawReader()))
			*to = (*to).Union(of)
		}
		return err
	}
	for _, entry := range o.GetManagedFields() {
		var err error
		switch update := entry.Operation == metav1.ManagedFieldsOperationUpdate; {
		case entry.FieldsV1 == nil:
		case update && writers.Has(entry.Manager):
			var rest, kept []metav1.ManagedFieldsEntry
			rest, kept, err = heldBack(entry)
			err = cmp.Or(err, add(&own, rest...), add(&others, kept...))
		case !update && entry.Manager == manager:
			err = add(&own, entry)
		default:
			err = add(&others, entry)
		}
		if err != nil {
			return nil, fmt.Errorf("managedFields of %s: %w", entry.Manager, err)
		}
	}
	return own.Leaves().Difference(others), nil
}

// holds says whether an object has all that is wanted. Lists have to be the same, or, where
// they are sets, to have each item.
func holds(is, wanted any, sets bool) bool {
	switch wanted := wanted.(type) {
	case map[string]any:
		in, ok := is.(map[string]any)
		for key, value := range wanted {
			now, there := in[key]
			ok = ok && there && holds(now, value, sets)
		}
		return ok
	case []any:
		in, _ := is.([]any)
		if !sets {
			break
		}
		return !slices.ContainsFunc(wanted, func(item any) bool {
			return !slices.ContainsFunc(in, func(one any) bool { return holds(one, item, sets) })
		})
	}
	left, err := json.Marshal(is)
	right, other := json.Marshal(wanted)
	return err == nil && other == nil && string(left) == string(right)
}

// goes says whether anything of some fields is there and is named no more. Of a list it is
// the whole.
func goes(is, wanted map[string]any, own *fieldpath.Set) (gone bool) {
	own.Iterate(func(path fieldpath.Path) {
		var names []string
		for _, at := range path {
			if at.FieldName == nil {
				break
			}
			names = append(names, *at.FieldName)
		}
		_, there, _ := unstructured.NestedFieldNoCopy(is, names...) // an error: not there
		_, named, _ := unstructured.NestedFieldNoCopy(wanted, names...)
		gone = gone || there && !named
	})
	return gone
}
