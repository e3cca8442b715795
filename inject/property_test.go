package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// Whatever a stream looks like: read back it is what it was, and the annotations; of a
// sidecar nothing else is new; no line is gone; and twice is once.
func TestAnyStreamIsWhatItWasAndWhatIsPutIn(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	for range 400 {
		seed++
		r := rand.New(rand.NewPCG(seed, 0))
		text, block := drawStream(t, r)
		o, set := drawOptions(r)
		out, err := Inject("drawn.yaml", []byte(text), o)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		was, is := parsed(t, text), parsed(t, string(out.Text))
		for _, o := range was {
			eachTemplate(o, func(template map[string]any) { annotate(template, set) })
		}
		for _, o := range slices.Concat(was, is) {
			eachTemplate(o, withoutSidecar)
		}
		if diff := cmp.Diff(was, is); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s\n%s\nbecame\n%s", seed, diff, text, out.Text)
		}
		if line := missingLine(text, string(out.Text)); block && line != "" {
			t.Fatalf("seed %d: the line %q is gone\n%s\nbecame\n%s", seed, line, text, out.Text)
		}
		again, err := Inject("drawn.yaml", out.Text, o)
		if err != nil || !bytes.Equal(again.Text, out.Text) {
			t.Fatalf("seed %d: a second time changes it (%v)\n%s\nbecame\n%s", seed, err, out.Text, again.Text)
		}
	}
}

// drawOptions draws options, and the annotations that they mean.
func drawOptions(r *rand.Rand) (o Options, set map[string]string) {
	o.Fields, set = map[string]string{}, map[string]string{"sluice.dev/inject": "true"}
	if r.IntN(2) == 0 {
		o.Fields["includeIPRanges"] = "10.0.0.0/8,172.16.0.0/12"
		set["traffic.sidecar.istio.io/includeOutboundIPRanges"] = o.Fields["includeIPRanges"]
	}
	if r.IntN(3) == 0 {
		o.Fields["dnsCapture"], set["sluice.dev/dnsCapture"] = "true", "true"
	}
	if r.IntN(2) == 0 {
		o.Sidecar = &Sidecar{Image: "sluice", ConfigMap: "sluice", Plugin: r.IntN(2) == 0}
		set["sluice.dev/exemptUIDs"] = "1337"
		set["sluice.dev/inject"] = fmt.Sprint(o.Sidecar.Plugin)
	}
	return o, set
}

// annotate is what is wanted of a template, as said in one line.
func annotate(template map[string]any, set map[string]string) {
	metadata, _ := template["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	spec, _ := template["spec"].(map[string]any)
	if spec["hostNetwork"] == true || annotations["sluice.dev/inject"] == "false" {
		return
	}
	if metadata == nil {
		metadata = map[string]any{}
	}
	if annotations == nil {
		annotations = map[string]any{}
	}
	for name, value := range set {
		annotations[name] = value
	}
	template["metadata"], metadata["annotations"] = metadata, annotations
}

// withoutSidecar takes out what --sidecar puts in, and lists that are empty then.
func withoutSidecar(template map[string]any) {
	spec, _ := template["spec"].(map[string]any)
	for _, list := range []string{"initContainers", "volumes"} {
		all, _ := spec[list].([]any)
		all = slices.DeleteFunc(all, func(item any) bool {
			name, _ := item.(map[string]any)["name"].(string)
			return strings.HasPrefix(name, "sluice-")
		})
		if spec[list] = all; len(all) == 0 {
			delete(spec, list)
		}
	}
	if len(spec) == 0 {
		delete(template, "spec")
	}
}

func eachTemplate(o any, visit func(map[string]any)) {
	object, _ := o.(map[string]any)
	if items, is := object["items"].([]any); is {
		for _, item := range items {
			eachTemplate(item, visit)
		}
	}
	if kind, _ := object["kind"].(string); templates[kind].path != nil || kind == "Pod" {
		for _, key := range templates[kind].path {
			object, _ = object[key].(map[string]any)
		}
		if object != nil {
			visit(object)
		}
	}
}

func parsed(t *testing.T, text string) (all []any) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var one any
		if err := d.Decode(&one); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		all = append(all, one)
	}
}

// missingLine is the first that is not in another text in its turn. Those that a value is
// written into may differ.
func missingLine(text, in string) string {
	rest := strings.Split(in, "\n")
	for line := range strings.SplitSeq(text, "\n") {
		if strings.ContainsAny(line, "{[") || strings.Contains(line, "null") || strings.Contains(line, "o/") || strings.Contains(line, "dev/") {
			continue
		}
		i := slices.Index(rest, line)
		if i < 0 {
			return line
		}
		rest = rest[i+1:]
	}
	return ""
}

// drawStream draws documents; block says that all are in block style, a line per key.
func drawStream(t *testing.T, r *rand.Rand) (text string, block bool) {
	block = true
	var parts []string
	for range 1 + r.IntN(3) {
		object := drawObject(r, true)
		if r.IntN(4) == 0 {
			parts, block = append(parts, drawJSON(t, r, object)), false
			continue
		}
		parts = append(parts, drawYAML(t, r, object))
	}
	return strings.Join(parts, "---\n"), block
}

func drawJSON(t *testing.T, r *rand.Rand, object any) string {
	data, err := json.Marshal(object)
	if r.IntN(2) == 0 {
		data, err = json.MarshalIndent(object, "", "    ")
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}

func drawYAML(t *testing.T, r *rand.Rand, object any) string {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2 + 2*r.IntN(2))
	if r.IntN(2) == 0 {
		e.CompactSeqIndent()
	}
	if err := e.Encode(object); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(out.String()) {
		if r.IntN(8) == 0 {
			text.WriteString(strings.Repeat(" ", r.IntN(8)) + "# a remark: {of, nobody's}\n")
		}
		if r.IntN(10) == 0 {
			text.WriteString("\n")
		}
		if before, boolean := strings.CutSuffix(line, "hostNetwork: true\n"); boolean {
			line = before + "hostNetwork: " + []string{"true", "True", "TRUE"}[r.IntN(3)] + "\n"
		}
		text.WriteString(line)
	}
	return text.String()
}

func drawObject(r *rand.Rand, lists bool) map[string]any {
	kinds := append(slices.Sorted(maps.Keys(templates)), "ConfigMap")
	if lists {
		kinds = append(kinds, "List")
	}
	kind := kinds[r.IntN(len(kinds))]
	object := map[string]any{"kind": kind, "apiVersion": strings.TrimPrefix(templates[kind].group+"/v1", "/"), "metadata": map[string]any{"name": "a"}}
	switch kind {
	case "ConfigMap":
		object["data"] = map[string]any{"ä": "1", "of": "kind: Pod"}
	case "List":
		items := []any{}
		for range r.IntN(4) {
			items = append(items, drawObject(r, false))
		}
		object["items"] = items
	case "Pod":
		maps.Copy(object, drawTemplate(r))
		object["metadata"] = map[string]any{"name": "a"}
	default:
		into := object
		path := templates[kind].path
		for _, key := range path[:len(path)-1] {
			next := map[string]any{}
			into[key], into = next, next
		}
		into[path[len(path)-1]] = drawTemplate(r)
	}
	return object
}

func drawTemplate(r *rand.Rand) map[string]any {
	out := map[string]any{"spec": drawSpec(r)}
	if r.IntN(4) == 0 {
		return out
	}
	metadata := map[string]any{}
	if r.IntN(2) == 0 {
		metadata["labels"] = map[string]any{"app": "ä", "tier": "b"}
	}
	switch r.IntN(4) {
	case 0:
		metadata["annotations"] = nil
	case 1:
		metadata["annotations"] = map[string]any{}
	case 2:
		annotations := map[string]any{"example.com/zürich": "yes"}
		for name, values := range map[string][]string{
			"sluice.dev/inject": {"true", "false", "true"},
			"traffic.sidecar.istio.io/includeOutboundIPRanges": {"*", "10.0.0.0/8", ""},
			"sluice.dev/dnsCapture":                            {"true", "false"},
		} {
			if r.IntN(2) == 0 {
				annotations[name] = values[r.IntN(len(values))]
			}
		}
		metadata["annotations"] = annotations
	}
	out["metadata"] = metadata
	return out
}

func drawSpec(r *rand.Rand) map[string]any {
	container := func(name string) any {
		return map[string]any{"name": name, "image": "x", "args": []any{"-c", "echo \"{[\" # not a remark"}}
	}
	spec := map[string]any{"containers": []any{container("a"), container("b")}}
	if r.IntN(6) == 0 {
		spec["hostNetwork"] = r.IntN(2) == 0
	}
	if r.IntN(2) == 0 {
		spec["initContainers"] = []any{container("c"), container("d")}[:r.IntN(3)]
	}
	if r.IntN(2) == 0 {
		spec["volumes"] = []any{map[string]any{"name": "v", "emptyDir": map[string]any{}}}[:r.IntN(2)]
	}
	return spec
}

// No text makes it panic, and what it takes it takes a second time without a change.
func FuzzInject(f *testing.F) {
	for seed := range uint64(20) {
		text, _ := drawStream(&testing.T{}, rand.New(rand.NewPCG(seed, 0)))
		f.Add([]byte(text))
	}
	for _, text := range []string{
		"kind: &k Pod\napiVersion: v1\nmetadata: {labels: {app: *k}}\nspec: {<<: {hostNetwork: yes}}\n",
		"kind: List\nitems:\n- &a {kind: Pod, apiVersion: v1}\n- *a\n- {<<: *a}\n- &b [*b]\n",
		"kind: Pod\nkind: Pod\napiVersion: v1\nmetadata: {}\nmetadata: {}\n",
		"\ufeffkind: Pod\r\napiVersion: v1\r\nmetadata:\r\n  name: a\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []Options{{Fields: map[string]string{"nonTCP": "allow"}}, {Sidecar: sidecar()}} {
			out, err := Inject("fuzz.yaml", data, o)
			if err != nil {
				continue
			}
			if again, err := Inject("fuzz.yaml", out.Text, o); err != nil || !bytes.Equal(again.Text, out.Text) {
				t.Errorf("%q became %q, and a second time %q, %v", data, out.Text, again.Text, err)
			}
		}
	})
}
