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
	own, others, err := fieldsOf(before)
	if err != nil {
		return "", err
	}
	for _, part := range []string{"metadata", "spec"} {
		is, wanted := before.Object[part], u.Object[part]
		if !holds(is, wanted, part == "metadata") || goes(is, wanted, below(own, part), below(others, part)) {
			return "configured", nil
		}
	}
	return "unchanged", nil
}

// fields are those of an object that somebody manages, as FieldsV1 has them.
type fields = map[string]any

// fieldsOf are the fields that Apply counts as its own, and those of others.
func fieldsOf(o *unstructured.Unstructured) (own, others []fields, err error) {
	for _, entry := range o.GetManagedFields() {
		var rest, kept []metav1.ManagedFieldsEntry
		switch update := entry.Operation == metav1.ManagedFieldsOperationUpdate; {
		case entry.FieldsV1 == nil:
		case update && writers.Has(entry.Manager):
			rest, kept, err = heldBack(entry)
		case !update && entry.Manager == manager:
			rest = append(rest, entry)
		default:
			kept = append(kept, entry)
		}
		mine, bad := decoded(rest)
		theirs, worse := decoded(kept)
		if err := cmp.Or(err, bad, worse); err != nil {
			return nil, nil, fmt.Errorf("managedFields of %s: %w", entry.Manager, err)
		}
		own, others = append(own, mine...), append(others, theirs...)
	}
	return own, others, nil
}

func decoded(entries []metav1.ManagedFieldsEntry) (all []fields, err error) {
	for _, e := range entries {
		var f fields
		text, bad := json.Marshal(e.FieldsV1)
		err = cmp.Or(err, bad, json.Unmarshal(text, &f))
		all = append(all, f)
	}
	return all, err
}

// below are the fields of those who manage a key.
func below(all []fields, key string) (out []fields) {
	for _, f := range all {
		if within, there := f["f:"+key].(fields); there {
			out = append(out, within)
		}
	}
	return out
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

// goes says whether anything is there that is wanted no more and only own managers have.
func goes(is, wanted any, own, others []fields) bool {
	in, _ := is.(map[string]any)
	named, _ := wanted.(map[string]any)
	for key, value := range in {
		mine, theirs := below(own, key), below(others, key)
		_, stays := named[key]
		_, isMap := value.(map[string]any)
		switch {
		case len(mine) == 0:
		case isMap && slices.ContainsFunc(mine, func(f fields) bool { _, whole := f["."]; return len(f) > 1 || len(f) == 1 && !whole }):
			if goes(value, named[key], mine, theirs) {
				return true
			}
		case !stays && len(theirs) == 0:
			return true
		}
	}
	return false
}
