package kubeapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// manager is who sluice's commands and agents are among those who manage fields.
const manager = "sluice"

// answerWithin is how long a single request may take; a caller's context may be shorter.
const answerWithin = 30 * time.Second

// page is how many objects a list asks for at once.
const page = 500

// try makes a request in the newest version that the server has, and explains its error.
func (c *Cluster) try(ctx context.Context, verb string, k Kind, key Key, request func(context.Context, dynamic.ResourceInterface) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return c.versions(verb, k, key, func(v schema.GroupVersionResource) error { return request(ctx, c.resource(v, key.Namespace)) })
}

func (c *Cluster) resource(v schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return c.client.Resource(v)
	}
	return c.client.Resource(v).Namespace(namespace)
}

// versions tries a request in each version until the server has it.
func (c *Cluster) versions(verb string, k Kind, key Key, request func(schema.GroupVersionResource) error) error {
	var err error
	for _, v := range k.versions() {
		err = request(v)
		if status, is := err.(apierrors.APIStatus); !is || !apierrors.IsNotFound(err) || key.Name != "" && !missingKind(status) {
			break
		}
	}
	return c.explain(err, verb, k, key)
}

// Get reads one object.
func (c *Cluster) Get(ctx context.Context, k Kind, key Key) (o Object, err error) {
	err = c.try(ctx, "get", k, key, func(ctx context.Context, r dynamic.ResourceInterface) error {
		u, err := r.Get(ctx, key.Name, metav1.GetOptions{})
		if err == nil {
			o, err = leanObject(k, u.Object)
		}
		return err
	})
	return o, err
}

// List reads all objects that are selected, in the order of their keys.
func (c *Cluster) List(ctx context.Context, k Kind, s Selector) ([]Object, error) {
	return c.list(ctx, k, s, leanObject)
}

// ListWhole is List with what this package leaves out elsewhere, the status among it.
func (c *Cluster) ListWhole(ctx context.Context, k Kind, s Selector) ([]Object, error) {
	return c.list(ctx, k, s, wholeObject)
}

func (c *Cluster) list(ctx context.Context, k Kind, s Selector, read func(Kind, map[string]any) (Object, error)) (all []Object, err error) {
	key := Key{Namespace: s.Namespace}
	err = c.versions("list", k, key, func(v schema.GroupVersionResource) error {
		all = nil
		o := metav1.ListOptions{FieldSelector: s.Fields, LabelSelector: s.Labels, Limit: page}
		for {
			ctx, cancel := context.WithTimeout(ctx, answerWithin)
			var broken error
			meta, err := c.stream(ctx, k, v, s.Namespace, o, func(u *unstructured.Unstructured) {
				one, err := read(k, u.Object)
				if err != nil {
					broken = err
				}
				all = append(all, one)
			})
			cancel()
			if err = cmp.Or(err, broken); err != nil {
				return err
			}
			if o.Continue = meta.Continue; o.Continue == "" {
				return nil
			}
		}
	})
	slices.SortFunc(all, func(a, b Object) int { return compareKeys(a.Key, b.Key) })
	return all, err
}

// parse reads an object that is to be written.
func parse(k Kind, data []byte) (*unstructured.Unstructured, Key, error) {
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &u.Object); err != nil {
		return nil, Key{}, fmt.Errorf("%s: not an object in JSON: %w", k.Name, err)
	}
	key := Key{u.GetNamespace(), u.GetName()}
	if key.Name == "" {
		return nil, key, fmt.Errorf("%s: metadata.name: is missing; name it", k.Name)
	}
	if key.Namespace == "" && k.Namespaced() {
		return nil, key, fmt.Errorf("%s %s: metadata.namespace: is missing; say which", k.Name, key.Name)
	}
	return u, key, nil
}

func (c *Cluster) dry() []string {
	if c.dryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// inVersion is the object as a version of its kind.
func inVersion(u *unstructured.Unstructured, k Kind, v schema.GroupVersionResource) *unstructured.Unstructured {
	u = u.DeepCopy()
	u.SetKind(k.Name)
	u.SetAPIVersion(v.GroupVersion().String())
	return u
}

// write is try for a request that sends an object: it says the version that it is sent in.
func (c *Cluster) write(ctx context.Context, verb string, k Kind, u *unstructured.Unstructured, request func(context.Context, dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	key := Key{u.GetNamespace(), u.GetName()}
	return c.versions(verb, k, key, func(v schema.GroupVersionResource) error {
		return request(ctx, c.resource(v, key.Namespace), inVersion(u, k, v))
	})
}

// Create writes an object that is not there yet; else the error is ErrExists. Its
// apiVersion and kind are set.
func (c *Cluster) Create(ctx context.Context, k Kind, data []byte) error {
	u, _, err := parse(k, data)
	if err != nil {
		return err
	}
	return c.write(ctx, "create", k, u, func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error {
		_, err := r.Create(ctx, u, metav1.CreateOptions{DryRun: c.dry(), FieldManager: manager, FieldValidation: metav1.FieldValidationStrict})
		return err
	})
}

// Apply writes an object whether it is there or not, by server-side apply: fields that
// it names become so whoever had them, fields that others wrote and it does not name
// stay. What Create, kubectl create and kubectl apply wrote counts as written by this, so
// that of it goes what is named no more; their finalizers and owners, and kubectl's copy of
// the object, stay. It says what was done, created, configured or unchanged, and gives the
// object as it is after that.
func (c *Cluster) Apply(ctx context.Context, k Kind, data []byte) (done string, now Object, err error) {
	u, key, err := parse(k, data)
	if err != nil {
		return "", now, err
	}
	err = c.write(ctx, "patch", k, u, func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error {
		before, err := r.Get(ctx, key.Name, metav1.GetOptions{})
		if status, is := err.(apierrors.APIStatus); is && apierrors.IsNotFound(err) && !missingKind(status) {
			before, err = nil, nil
		}
		if err != nil {
			return err
		}
		text, err := json.Marshal(u.Object)
		if err != nil {
			return err
		}
		goes := false // what is named no more, which a dry run does not show
		if before != nil {
			if before, goes, err = c.own(ctx, r, before); err != nil {
				return err
			}
		}
		force := true
		after, err := r.Patch(ctx, key.Name, types.ApplyPatchType, text, metav1.PatchOptions{
			DryRun: c.dry(), FieldManager: manager, FieldValidation: metav1.FieldValidationStrict, Force: &force,
		})
		switch {
		case err != nil:
			return err
		case before == nil:
			done = "created"
		case sameLean(k, before, after) && !(goes && c.dryRun && !sameSpec(before, u)):
			done = "unchanged"
		default:
			done = "configured"
		}
		now, err = leanObject(k, after.Object)
		return err
	})
	return done, now, err
}

func sameSpec(a, b *unstructured.Unstructured) bool {
	left, err := json.Marshal(a.Object["spec"])
	right, other := json.Marshal(b.Object["spec"])
	return err == nil && other == nil && string(left) == string(right)
}

// sameLean compares without what a server changes at each writing, as when a field has
// another manager.
func sameLean(k Kind, a, b *unstructured.Unstructured) bool {
	left, err := leanObject(k, a.DeepCopy().Object)
	right, other := leanObject(k, b.DeepCopy().Object)
	return err == nil && other == nil && string(left.JSON) == string(right.JSON)
}

// Delete takes an object away, and what it owns, in the server's time.
func (c *Cluster) Delete(ctx context.Context, k Kind, key Key) error {
	return c.try(ctx, "delete", k, key, func(ctx context.Context, r dynamic.ResourceInterface) error {
		return r.Delete(ctx, key.Name, metav1.DeleteOptions{DryRun: c.dry()})
	})
}

// Patch changes fields of an object by a JSON merge patch (RFC 7396).
func (c *Cluster) Patch(ctx context.Context, k Kind, key Key, merge []byte) error {
	return c.try(ctx, "patch", k, key, func(ctx context.Context, r dynamic.ResourceInterface) error {
		_, err := r.Patch(ctx, key.Name, types.MergePatchType, merge, metav1.PatchOptions{DryRun: c.dry(), FieldManager: manager})
		return err
	})
}
