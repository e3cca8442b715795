package kubeapi_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// By what is there and who wrote it, Would says what a server answers to Apply: what others
// wrote stays, and what own managers alone wrote and is named no more goes.
func TestWhatApplyWouldDoIsSaidWithoutAsking(t *testing.T) {
	t.Parallel()
	s, ctx := apitest.New(t), context.Background()
	const tls, wait = `"tls":{"mode":"SIMPLE"}`, `"tcp":{"connectTimeout":"1s"}`
	object := func(managed, metadata, spec string) string {
		return fmt.Sprintf(`{"metadata":{"namespace":"shop","name":"a"%s,"managedFields":[%s]},"spec":{%s}}`, metadata, managed, spec)
	}
	by := func(manager, operation, fields string) string {
		return fmt.Sprintf(`{"manager":%q,"operation":%q,"apiVersion":"networking.istio.io/v1","fieldsType":"FieldsV1","fieldsV1":{%s}}`, manager, operation, fields)
	}
	const ofTLS, ofWait = `"f:spec":{"f:tls":{"f:mode":{}}}`, `"f:spec":{"f:tcp":{".":{},"f:connectTimeout":{}}}`
	const finalizers = `,"finalizers":["x.com/a","x.com/b"]`
	wanted := object("", "", tls)
	for _, c := range []struct{ name, there, wanted, want string }{
		{"nothing is there", "", wanted, "created"},
		{"the same", object("", "", tls), wanted, "unchanged"},
		{"another value", object("", "", `"tls":{"mode":"MUTUAL"}`), wanted, "configured"},
		{"less", object("", "", ""), wanted, "configured"},
		{"more that somebody else wrote", object(by("sluice", "Apply", ofTLS)+","+by("helm", "Update", ofWait), "", tls+","+wait), wanted, "unchanged"},
		{"more, of sluice's", object(by("sluice", "Apply", `"f:spec":{"f:tls":{"f:mode":{}},"f:tcp":{".":{},"f:connectTimeout":{}}}`), "", tls+","+wait), wanted, "configured"},
		{"more within a field that is named", object(by("sluice", "Apply", `"f:spec":{"f:tls":{"f:mode":{},"f:sni":{}}}`), "", `"tls":{"mode":"SIMPLE","sni":"a"}`), wanted, "configured"},
		{"more, of kubectl's", object(by("kubectl-client-side-apply", "Update", ofWait), "", tls+","+wait), wanted, "configured"},
		{"more, of kubectl's server-side apply", object(by("kubectl", "Apply", ofWait), "", tls+","+wait), wanted, "unchanged"},
		{"more, of sluice's and of somebody's", object(by("sluice", "Apply", ofWait)+","+by("helm", "Update", ofWait), "", tls+","+wait), wanted, "unchanged"},
		{"a label of sluice's", object(by("sluice", "Apply", `"f:metadata":{"f:labels":{"f:x":{}}}`), `,"labels":{"x":"y"}`, tls), wanted, "configured"},
		{"finalizers, one of somebody's", object("", finalizers, tls), object("", `,"finalizers":["x.com/b"]`, tls), "unchanged"},
		{"a finalizer that kubectl wrote", object(by("kubectl-create", "Update", `"f:metadata":{"f:finalizers":{".":{},"v:\"x.com/a\"":{}}}`), finalizers, tls), wanted, "unchanged"},
		{"a list in another order", object("", "", `"hosts":["a","b"]`), object("", "", `"hosts":["b","a"]`), "configured"},
		{"a part of a list", object("", "", `"hosts":["a","b"]`), object("", "", `"hosts":["a"]`), "configured"},
	} {
		s.Remove(kubeapi.DestinationRules, kubeapi.Key{Namespace: "shop", Name: "a"})
		if c.there != "" {
			s.Put(kubeapi.DestinationRules, c.there)
		}
		if done, err := s.Cluster().Would(ctx, kubeapi.DestinationRules, []byte(c.wanted)); err != nil || done != c.want {
			t.Errorf("%s: %q, %v; want %s", c.name, done, err, c.want)
		}
	}
}
