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
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sluice-cni/sluice/internal/yamltext"
)

// Whatever a stream looks like: as kubectl reads it, it is what it was, and the annotations;
// of a sidecar nothing else is new; no line is gone; and twice is once. What cannot be changed
// where it stands, or is read in two ways, is refused.
func TestAnyStreamIsWhatItWasAndWhatIsPutIn(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	refused := map[bool]int{}
	for range 400 {
		seed++
		r := rand.New(rand.NewPCG(seed, 0))
		text, drawn := drawStream(t, r)
		o, set := drawOptions(r)
		out, err := Inject("drawn.yaml", []byte(text), o)
		if err == nil && drawn.twice || err != nil && !drawn.twice && !drawn.shared {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if drawn.shared && !drawn.twice {
			refused[err != nil]++
		}
		if err != nil {
			continue
		}
		was, is := parsed(t, text), parsed(t, string(out.Text))
		for _, o := range was {
			eachTemplate(o, func(template map[string]any) { annotate(template, set) })
		}
		if o.Sidecar != nil {
			for _, o := range slices.Concat(was, is) {
				eachTemplate(o, withoutSidecar)
			}
		}
		if diff := cmp.Diff(was, is); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s\n%s\nbecame\n%s", seed, diff, text, out.Text)
		}
		if line := missingLine(text, string(out.Text)); drawn.block && line != "" {
			t.Fatalf("seed %d: the line %q is gone\n%s\nbecame\n%s", seed, line, text, out.Text)
		}
		again, err := Inject("drawn.yaml", out.Text, o)
		if err != nil || !bytes.Equal(again.Text, out.Text) {
			t.Fatalf("seed %d: a second time changes it (%v)\n%s\nbecame\n%s", seed, err, out.Text, again.Text)
		}
	}
	if refused[true] == 0 || refused[false] == 0 {
		t.Errorf("of the streams with aliases %d were refused and %d not", refused[true], refused[false])
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

// parsed reads a stream as kubectl does.
func parsed(t *testing.T, text string) (all []any) {
	t.Helper()
	for d := kubeyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
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

// drawn says what a stream is like.
type drawn struct {
	block  bool // all in block style, a line per key
	shared bool // with aliases, which may stand where something is put in
	twice  bool // with something that is read in two ways
}

func drawStream(t *testing.T, r *rand.Rand) (text string, of drawn) {
	of.block = true
	var parts []string
	for range 1 + r.IntN(3) {
		object := drawObject(r, true)
		if r.IntN(4) == 0 {
			parts, of.block = append(parts, drawJSON(t, r, object)), false
			continue
		}
		parts = append(parts, drawYAML(t, r, object, &of))
	}
	text = strings.Join(parts, "---\n")
	if r.IntN(8) == 0 {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	if r.IntN(8) == 0 && !strings.HasPrefix(text, "{") { // kubectl's reader of JSON knows none
		text = "\ufeff" + text
	}
	return text, of
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

func drawYAML(t *testing.T, r *rand.Rand, object any, of *drawn) string {
	var n yaml.Node
	if err := n.Encode(object); err != nil {
		t.Fatal(err)
	}
	switch r.IntN(6) {
	case 0:
		of.shared = alias(r, &n) || of.shared
	case 1:
		of.shared = mergeKey(r, &n, false) || of.shared
	case 2:
		if r.IntN(4) == 0 {
			of.twice = mergeKey(r, &n, true) || of.twice
		} else if r.IntN(4) == 0 {
			of.twice = keyTwice(r, &n) || of.twice
		}
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2 + 2*r.IntN(2))
	if r.IntN(2) == 0 {
		e.CompactSeqIndent()
	}
	if err := e.Encode(&n); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(out.String()) {
		if r.IntN(8) == 0 {
			text.WriteString(strings.Repeat(" ", r.IntN(8)) + "# a remark: {of, nobody's}" + []string{"", "\u2028 # more"}[r.IntN(2)] + "\n")
		}
		if r.IntN(10) == 0 {
			text.WriteString("\n")
		}
		for boolean, spellings := range map[string][]string{
			"true":  {"true", "True", "TRUE", "yes", "Yes", "on", "ON"},
			"false": {"false", "False", "FALSE", "no", "No", "off", "OFF"},
		} {
			if before, is := strings.CutSuffix(line, "hostNetwork: "+boolean+"\n"); is {
				line = before + "hostNetwork: " + spellings[r.IntN(len(spellings))] + "\n"
				break
			}
		}
		text.WriteString(line)
	}
	return text.String()
}

// nodesOf lists a tree's, each before those within it.
func nodesOf(n *yaml.Node) []*yaml.Node {
	all := []*yaml.Node{n}
	for _, c := range n.Content {
		all = append(all, nodesOf(c)...)
	}
	return all
}

// alias makes a value the alias of an earlier one that is the same; false: there is none.
func alias(r *rand.Rand, root *yaml.Node) bool {
	all := nodesOf(root)
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	order := nodesOf(root)
	for _, first := range all {
		for _, second := range order[slices.Index(order, first)+1:] {
			// A value of a mapping, or an item: of keys and of what is within first no alias is made.
			if slices.Contains(nodesOf(first), second) || !yamltext.Same(first, second) || isKey(order, first) || isKey(order, second) {
				continue
			}
			first.Anchor = "a"
			*second = yaml.Node{Kind: yaml.AliasNode, Value: "a", Alias: first}
			return true
		}
	}
	return false
}

func isKey(all []*yaml.Node, n *yaml.Node) bool {
	for _, m := range all {
		if i := slices.Index(m.Content, n); i >= 0 && m.Kind == yaml.MappingNode {
			return i%2 == 0
		}
	}
	return false
}

// drawMapping is one with keys; nil: there is none.
func drawMapping(r *rand.Rand, root *yaml.Node) *yaml.Node {
	var all []*yaml.Node
	for _, n := range nodesOf(root) {
		if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

// mergeKey has a mapping's first key come by a merge key, before its others or behind them; or
// beside it, with another value.
func mergeKey(r *rand.Rand, root *yaml.Node, beside bool) bool {
	m := drawMapping(r, root)
	if m == nil {
		return false
	}
	pair := slices.Clone(m.Content[:2])
	rest := slices.Clone(m.Content[2:])
	if beside {
		rest, pair[1] = m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "other"}
	}
	merge := []*yaml.Node{{Kind: yaml.ScalarNode, Value: "<<", Tag: "!!merge"}, {Kind: yaml.MappingNode, Content: pair}}
	if beside || r.IntN(2) == 0 {
		m.Content = slices.Concat(rest, merge)
	} else {
		m.Content = slices.Concat(merge, rest)
	}
	return true
}

// keyTwice writes a mapping's key a second time.
func keyTwice(r *rand.Rand, root *yaml.Node) bool {
	m := drawMapping(r, root)
	if m == nil {
		return false
	}
	m.Content = append(m.Content, m.Content[0], &yaml.Node{Kind: yaml.ScalarNode, Value: "other"})
	return true
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
		spec["hostNetwork"] = r.IntN(2) == 0 // in one of many spellings
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
