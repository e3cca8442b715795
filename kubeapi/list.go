package kubeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// stream asks for objects of a kind and hands on one after the other as it comes: decoded as
// a whole, the Services of a large cluster would take hundreds of megabytes for a moment.
// Where it fails, some may have been handed on.
func (c *Cluster) stream(ctx context.Context, k Kind, v schema.GroupVersionResource, namespace string, o metav1.ListOptions, each func(*unstructured.Unstructured)) (metav1.ListMeta, error) {
	path := []string{"/apis", v.Group, v.Version}
	if v.Group == "" {
		path = []string{"/api", v.Version}
	}
	if namespace != "" {
		path = append(path, "namespaces", namespace)
	}
	body, err := c.rest.Get().AbsPath(append(path, v.Resource)...).SetHeader("Accept", "application/json").
		SpecificallyVersionedParams(&o, metav1.ParameterCodec, schema.GroupVersion{Version: "v1"}).Stream(ctx)
	if err != nil {
		return metav1.ListMeta{}, err
	}
	defer body.Close()
	return readList(body, func(item []byte) error {
		u := &unstructured.Unstructured{}
		if err := utiljson.Unmarshal(item, &u.Object); err != nil {
			return err
		}
		if u.Object == nil {
			return fmt.Errorf("an item is no object")
		}
		// Items of Kubernetes' own kinds do not say which they are of.
		u.SetGroupVersionKind(v.GroupVersion().WithKind(k.Name))
		each(u)
		return nil
	})
}

// readList reads a list in JSON and hands on the text of each item, which is valid until
// the next one.
func readList(r io.Reader, each func(item []byte) error) (meta metav1.ListMeta, err error) {
	d := json.NewDecoder(r)
	if err := delimiter(d, '{'); err != nil {
		return meta, err
	}
	var text json.RawMessage
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return meta, err
		}
		switch key {
		case "metadata":
			err = d.Decode(&meta)
		case "items":
			err = readItems(d, each)
		default:
			err = d.Decode(&text)
		}
		if err != nil {
			return meta, err
		}
	}
	return meta, delimiter(d, '}')
}

func readItems(d *json.Decoder, each func(item []byte) error) error {
	switch t, err := d.Token(); {
	case err != nil:
		return err
	case t == nil: // none, as Go writes it
		return nil
	case t != json.Delim('['):
		return fmt.Errorf("items: %v, where a list has to be", t)
	}
	var item json.RawMessage
	for d.More() {
		if err := d.Decode(&item); err != nil {
			return err
		}
		if err := each(item); err != nil {
			return err
		}
	}
	return delimiter(d, ']')
}

// delimiter reads one.
func delimiter(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && t != want {
		err = fmt.Errorf("%v, where %v has to be", t, want)
	}
	return err
}
