package rows

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// row runs body, as a parallel subtest of the row's name, in a pod of its own. The id
// is written out where row is called: TestEveryRowHasATest looks for it there.
func row(t *testing.T, id string, body func(*egress.Pod)) {
	t.Helper()
	rowWith(t, id, egress.Options{}, body)
}

// rowWith is row in a pod with options.
func rowWith(t *testing.T, id string, o egress.Options, body func(*egress.Pod)) {
	t.Helper()
	if !slices.ContainsFunc(mesh.Rows, func(r mesh.Row) bool { return r.ID == id }) {
		t.Fatalf("row %q: mesh.Rows has no such row", id)
	}
	t.Run(id, func(t *testing.T) {
		t.Parallel()
		body(egress.New(t, o))
	})
}

// object is a resource, ended by `---`; spec is a YAML value in one line or, indented,
// in several.
func object(kind, name, spec string) string {
	return fmt.Sprintf("\napiVersion: networking.istio.io/v1\nkind: %s\nmetadata: {name: %s}\nspec: %s\n---\n", kind, name, spec)
}

// web registers hosts for plain HTTP on port 80, found by DNS.
func web(hosts ...string) string {
	var out strings.Builder
	for _, host := range hosts {
		out.WriteString(object("ServiceEntry", strings.ReplaceAll(host, "*", "any"), `{hosts: ["`+host+`"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}`))
	}
	return out.String()
}
