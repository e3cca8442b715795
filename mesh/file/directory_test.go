package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

func read(t testing.TB, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func files(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestCreateIsAllOrNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := Directory{Path: dir}
	if _, _, err := d.Create(manifest.Stream{Name: "in", Data: []byte(entryYAML("a"))}); err != nil {
		t.Fatal(err)
	}
	_, _, err := d.Create(manifest.Stream{Name: "in", Data: []byte(entryYAML("b") + "---\n" + entryYAML("a"))})
	var exists *manifest.ExistsError
	if !errors.As(err, &exists) || len(exists.Objects) != 1 || exists.Objects[0].Identity != id("a") {
		t.Errorf("got %v", err)
	}
	_, issues, err := d.Create(manifest.Stream{Name: "in", Data: []byte(entryYAML("c") + "---\n" + entryYAML("D"))})
	if err != nil || !issues.HasErrors() {
		t.Errorf("got %v, %s", err, issues)
	}
	if got := files(t, dir); got != "serviceentry.default.a.yaml" {
		t.Errorf("files: %s", got)
	}
}

func TestCreateKeepsTheTextAsItWasTyped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "# why\n" + entryYAML("a") + "# more\n"
	if _, _, err := (Directory{Path: dir}).Create(manifest.Stream{Name: "in", Data: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, read(t, dir, "serviceentry.default.a.yaml")); diff != "" {
		t.Error(diff)
	}
}

func TestCreateWritesTheNamespaceIntoTheFile(t *testing.T) {
	t.Parallel()
	inputs := map[string]string{
		"block":     entryYAML("a"),
		"several":   entryYAML("a") + "---\n" + entryYAML("b"),
		"flow":      "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a}, spec: {hosts: [a.com]}}",
		"json":      `{"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "a"}, "spec": {"hosts": ["a.com"]}}`,
		"list":      "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1\n  kind: ServiceEntry\n  metadata:\n    labels: {a: b}\n    name: a\n  spec: {hosts: [a.com]}\n",
		"unchanged": strings.Replace(entryYAML("a"), "  name: a", "  namespace: prod\n  name: a", 1),
	}
	for name, text := range inputs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, issues, err := (Directory{Path: dir}).Create(manifest.Stream{Name: "in", Namespace: "prod", Data: []byte(text)}); err != nil || issues.HasErrors() {
				t.Fatal(err, issues)
			}
			resources, _, err := Directory{Path: dir}.List()
			if err != nil || len(resources) == 0 {
				t.Fatal(err)
			}
			for _, r := range resources {
				if r.Namespace != "prod" {
					t.Errorf("%s", r.Identity())
				}
			}
		})
	}
}

func TestTheNamespaceIsWrittenAsItsNeighboursAre(t *testing.T) {
	t.Parallel()
	const rest = ", spec: {hosts: [a.com], resolution: DNS}}"
	for _, c := range []struct{ namespace, metadata, want string }{
		{"prod", "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a}", "metadata: {namespace: prod, name: a}"},
		{"123", "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a}", `metadata: {namespace: "123", name: a}`},
		{"prod", `{"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "a"}`, `"metadata": {"namespace": "prod", "name": "a"}`},
		{"prod", "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  \"name\": a", "metadata:\n  namespace: prod\n  \"name\": a"},
		{"no", "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: a", "metadata:\n  namespace: \"no\"\n  name: a"},
		{"1e3", "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: a", "metadata:\n  namespace: \"1e3\"\n  name: a"},
	} {
		spec := rest
		if strings.HasPrefix(c.metadata, "---") {
			spec = "\nspec: {hosts: [a.com], resolution: DNS}\n"
		}
		dir := t.TempDir()
		_, issues, err := Directory{Path: dir}.Create(manifest.Stream{Name: "in", Namespace: c.namespace, Data: []byte(c.metadata + spec)})
		if err != nil || issues.HasErrors() {
			t.Fatal(err, issues)
		}
		if got := read(t, dir, "serviceentry."+c.namespace+".a.yaml"); !strings.Contains(got, c.want) {
			t.Errorf("want %s in\n%s", c.want, got)
		}
		if _, issues, err := (Directory{Path: dir}).List(); err != nil || issues.HasErrors() {
			t.Errorf("what was written is not accepted: %v\n%s", err, issues)
		}
	}
}

func TestFilesThatAreNotHereAreWarnedOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "ca.pem", "")
	rule := func(tls string) manifest.Stream {
		return manifest.Stream{Name: "in", Data: []byte("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\nspec:\n  host: a.com\n  trafficPolicy: {" + tls + "}\n")}
	}
	for tls, want := range map[string][]string{
		"tls: {mode: SIMPLE, caCertificates: " + dir + "/ca.pem}": nil,
		"tls: {mode: SIMPLE, caCertificates: system}":             nil,
		"tls: {mode: SIMPLE, caCertificates: " + dir + "}":        {"spec.trafficPolicy.tls.caCertificates"},
		"tls: {mode: MUTUAL, caCertificates: /none/a, clientCertificate: /none/b, privateKey: /none/c}": {
			"spec.trafficPolicy.tls.caCertificates", "spec.trafficPolicy.tls.clientCertificate", "spec.trafficPolicy.tls.privateKey"},
		"portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE, caCertificates: /none/a}}]": {"spec.trafficPolicy.portLevelSettings[0].tls.caCertificates"},
	} {
		_, issues, err := Directory{Path: t.TempDir()}.Create(rule(tls))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range issues.Of(mesh.Warning) {
			if strings.Contains(i.Message, "on this machine") && i.Line == 6 {
				got = append(got, i.Field)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tls, diff)
		}
	}
}

func TestDeleteLeavesEveryOtherByteAlone(t *testing.T) {
	t.Parallel()
	a, b, c := entryYAML("a"), entryYAML("b"), entryYAML("c")
	items := func(names ...string) string {
		out := "apiVersion: v1\nitems:\n"
		for _, n := range names {
			out += "# about " + n + "\n- " + strings.ReplaceAll(strings.TrimSuffix(entryYAML(n), "\n"), "\n", "\n  ") + "\n"
		}
		return out + "kind: List\n# end\n"
	}
	json := func(names ...string) string {
		var list []string
		for _, n := range names {
			list = append(list, fmt.Sprintf(`    {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": %q, "annotations": {"x": "it's }]{[, \"quoted\""}}, "spec": {"hosts": ["%s.com"]}}`, n, n))
		}
		return "{\n  \"apiVersion\": \"v1\", \"kind\": \"List\",\n  \"items\": [\n" + strings.Join(list, ",\n") + "\n  ]\n}\n"
	}
	gateway := "- kind: Gateway\n  apiVersion: networking.istio.io/v1\n  metadata: {name: g}\n"
	withGateway := func(text string) string { return strings.Replace(text, "items:\n", "items:\n"+gateway, 1) }
	tests := map[string]struct {
		before string
		gone   []string
		after  string // "": the file goes
	}{
		"first":                 {"# top\n" + a + "---\n# b\n" + b, []string{"a"}, "---\n# b\n" + b},
		"middle":                {a + "---\n" + b + "--- # third\n" + c, []string{"b"}, a + "--- # third\n" + c},
		"last":                  {a + "---\n" + b, []string{"b"}, a},
		"comment above":         {a + "# about b\n---\n" + b, []string{"a"}, "# about b\n---\n" + b},
		"several":               {a + "---\n" + b + "---\n" + c, []string{"a", "c"}, "---\n" + b},
		"all":                   {"# top\n" + a + "---\n" + b, []string{"a", "b"}, ""},
		"only comments stay":    {"# top\n---\n" + a, []string{"a"}, ""},
		"another kind stays":    {"kind: Deployment\napiVersion: apps/v1\n---\n" + a, []string{"a"}, "kind: Deployment\napiVersion: apps/v1\n"},
		"a broken one stays":    {"a: [\n---\n" + a, []string{"a"}, "a: [\n"},
		"a broken one goes":     {a + "---\n" + strings.Replace(b, "HTTP", "nonsense", 1), []string{"b"}, a},
		"end marker":            {a + "...\n---\n" + b, []string{"a"}, "---\n" + b},
		"list, first":           {items("a", "b", "c"), []string{"a"}, strings.Replace(items("b", "c"), "# about b", "# about a\n# about b", 1)},
		"list, middle":          {items("a", "b", "c"), []string{"b"}, strings.Replace(items("a", "c"), "# about c", "# about b\n# about c", 1)},
		"list, last":            {items("a", "b"), []string{"b"}, strings.Replace(items("a"), "kind: List", "# about b\nkind: List", 1)},
		"list, a gateway stays": {withGateway(items("a")), []string{"a"}, strings.Replace(withGateway(items()), "kind: List", "# about a\nkind: List", 1)},
		"list, all":             {items("a", "b"), []string{"a", "b"}, ""},
		"json, first":           {json("a", "b", "c"), []string{"a"}, json("b", "c")},
		"json, middle":          {json("a", "b", "c"), []string{"b"}, json("a", "c")},
		"json, last":            {json("a", "b"), []string{"b"}, json("a")},
		"json, first and last":  {json("a", "b", "c"), []string{"a", "c"}, json("b")},
		"byte order mark":       {"\xef\xbb\xbf" + a + "---\n" + b, []string{"a"}, "\xef\xbb\xbf---\n" + b},
		"windows lines":         {strings.ReplaceAll(a+"---\n"+b, "\n", "\r\n"), []string{"b"}, strings.ReplaceAll(a, "\n", "\r\n")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "x.yaml", tt.before)
			var gone []mesh.Identity
			for _, n := range tt.gone {
				gone = append(gone, id(n))
			}
			changes, err := Directory{Path: dir}.Delete(gone)
			if err != nil || len(changes) != len(gone) {
				t.Fatalf("%v, %v", changes, err)
			}
			if tt.after == "" {
				if got := files(t, dir); got != "" {
					t.Errorf("left: %s:\n%s", got, read(t, dir, "x.yaml"))
				}
				return
			}
			if diff := cmp.Diff(tt.after, read(t, dir, "x.yaml")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A list by an alias has others' objects too: its document does not go for those that are
// deleted, and where no item can be cut out that is said.
func TestDeleteLosesNothingOfAListByAnAlias(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "apiVersion: v1\nkind: List\nall: &all\n- kind: Gateway\n  apiVersion: networking.istio.io/v1\n  metadata: {name: g}\n- " +
		strings.ReplaceAll(strings.TrimSuffix(entryYAML("a"), "\n"), "\n", "\n  ") + "\nitems: *all\n"
	write(t, dir, "x.yaml", text)
	if _, err := (Directory{Path: dir}).Delete([]mesh.Identity{id("a")}); err == nil || !strings.Contains(err.Error(), "take it out by hand") || read(t, dir, "x.yaml") != text {
		t.Errorf("%v\n%s", err, read(t, dir, "x.yaml"))
	}
}

func TestDeleteRemovesWhatIsThereAndNamesTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "x.yaml", entryYAML("a"))
	changes, err := Directory{Path: dir}.Delete([]mesh.Identity{id("a"), id("b"), {Kind: mesh.DestinationRule, Namespace: "default", Name: "a"}})
	var missing *manifest.NotFoundError
	if len(changes) != 1 || !errors.As(err, &missing) || len(missing.Objects) != 2 {
		t.Errorf("%v, %v", changes, err)
	}
}

func TestDeleteRefusesACutThatChangesTheOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := `apiVersion: v1
kind: List
items:
- apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata: {name: a}
  spec: &spec {hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}]}
- apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata: {name: b}
  spec: *spec
`
	write(t, dir, "x.yaml", text)
	if _, err := (Directory{Path: dir}).Delete([]mesh.Identity{id("a")}); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(text, read(t, dir, "x.yaml")); diff != "" {
		t.Error(diff)
	}
}

func TestApplyReplacesInPlaceAndAddsTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := Directory{Path: dir}
	write(t, dir, "mine.yaml", "# mine\n"+entryYAML("a"))
	write(t, dir, "two.yaml", entryYAML("b")+"---\n"+entryYAML("c"))
	apply := func(text, want string) {
		t.Helper()
		changes, issues, err := d.Apply(manifest.Stream{Name: "in", Data: []byte(text)})
		if err != nil || issues.HasErrors() {
			t.Fatal(err, issues)
		}
		var got []string
		for _, c := range changes {
			got = append(got, c.Name+" "+c.Done)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	apply(entryYAML("a"), "a unchanged")
	if !strings.HasPrefix(read(t, dir, "mine.yaml"), "# mine") {
		t.Error("what did not change was written")
	}
	apply(strings.Replace(entryYAML("a"), "80", "81", 1), "a configured")
	if got := files(t, dir); got != "mine.yaml two.yaml" || !strings.Contains(read(t, dir, "mine.yaml"), "81") {
		t.Errorf("files: %s", got)
	}
	apply(strings.Replace(entryYAML("b"), "80", "82", 1)+"---\n"+entryYAML("n"), "b configured, n created")
	if diff := cmp.Diff("---\n"+entryYAML("c"), read(t, dir, "two.yaml")); diff != "" {
		t.Error(diff)
	}
	resources, _, _ := d.List()
	if len(resources) != 4 {
		t.Errorf("%d objects", len(resources))
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	won := make(chan string, 40)
	for i := range 20 {
		for _, name := range []string{fmt.Sprintf("own-%d", i), "shared"} {
			all.Go(func() {
				if _, _, err := (Directory{Path: dir}).Create(manifest.Stream{Name: "in", Data: []byte(entryYAML(name))}); err == nil {
					won <- name
				}
			})
		}
	}
	all.Wait()
	close(won)
	shared := 0
	for name := range won {
		if name == "shared" {
			shared++
		}
	}
	resources, issues, err := Directory{Path: dir}.List()
	if err != nil || len(resources) != 21 || shared != 1 || len(issues) > 0 {
		t.Errorf("%d objects, shared created %d times, %v\n%s", len(resources), shared, err, issues)
	}
	if strings.Contains(files(t, dir), ".tmp") {
		t.Errorf("left behind: %s", files(t, dir))
	}
}

func TestAWriterRemovesWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, ".sluice-123.tmp", "half")
	write(t, dir, ".mine", "not ours")
	if _, _, err := (Directory{Path: dir}).Create(manifest.Stream{Name: "in", Data: []byte(entryYAML("a"))}); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got != ".mine serviceentry.default.a.yaml" {
		t.Errorf("files: %s", got)
	}
}
