package selection_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

func confOf(t testing.TB, text string) selection.Conf {
	t.Helper()
	object, err := selection.Entry([]byte("{" + text + "}"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := selection.ReadConf(object)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func policyOf(t testing.TB, text string) *selection.Policy {
	t.Helper()
	if text == "" {
		return nil
	}
	p := &selection.Policy{}
	if err := errors.Join(json.Unmarshal([]byte(text), p), p.Validate()); err != nil {
		t.Fatal(err)
	}
	return p
}

func noRanges() (cidr.List, error) { return cidr.List{}, errors.New("no ranges") }

const node = `"agentSocket":"/h.sock"`

func TestWhoIsSelected(t *testing.T) {
	t.Parallel()
	in, out := map[string]string{"sluice.dev/inject": "true"}, map[string]string{"sluice.dev/inject": "false"}
	for _, tc := range []struct {
		name, conf, policy, namespace string
		annotations                   map[string]string
		want                          bool
		why                           string
	}{
		{"no policy", "", "", "shop", nil, true, "selection is all"},
		{"an empty policy", "", `{}`, "shop", nil, true, "selection is all"},
		{"excluded by the entry, enforced by the policy", `"excludeNamespaces":["shop"]`, `{"enforce":["inject"]}`, "shop", nil, false, "excludeNamespaces"},
		{"exempt, and enforced by the entry", `"enforce":["inject"]`, `{"exemptNamespaces":["shop"]}`, "shop", in, false, "exemptNamespaces"},
		{"enforced by the node", "", `{"enforce":["inject"]}`, "shop", out, true, "the policy enforces it"},
		{"enforced by the node for who has no namespace", "", `{"enforce":["inject"]}`, "", out, true, "the policy enforces it"},
		{"everything enforced by the node", "", `{"enforce":["*"]}`, "shop", out, true, "the policy enforces it"},
		{"everything enforced where pods choose", "", `{"selection":"annotated","enforce":["*"]}`, "shop", in, true, "annotation"},
		{"everything enforced where pods choose, and one does not", "", `{"selection":"annotated","enforce":["*"]}`, "shop", out, false, "annotation"},
		{"enforced by the namespace", `"selection":"annotated"`, `{"namespaces":{"shop":{"enforce":["inject"]}}}`, "shop", out, true, "policy of namespace shop enforces"},
		{"enforced by another namespace", "", `{"namespaces":{"other":{"enforce":["inject"]}}}`, "shop", out, false, "is false"},
		{"everything enforced by a namespace that is selected", "", `{"selection":"annotated","namespaces":{"shop":{"select":true,"enforce":["*"]}}}`, "shop", out, true, "enforces"},
		{"everything enforced by a namespace that is not", "", `{"namespaces":{"shop":{"select":false,"enforce":["*"]}}}`, "shop", in, false, "select false"},
		{"opt-out in a selected namespace", "", `{"namespaces":{"shop":{"select":true}}}`, "shop", out, false, "is false"},
		{"a namespace that is not selected", "", `{"namespaces":{"shop":{"select":false}}}`, "shop", in, false, "select false"},
		{"a selected namespace where only annotated pods are", `"selection":"annotated"`, `{"namespaces":{"shop":{"select":true}}}`, "shop", nil, true, "select true"},
		{"the policy's selection wins", `"selection":"annotated"`, `{"selection":"all"}`, "shop", nil, true, "all"},
		{"and the other way", "", `{"selection":"annotated"}`, "shop", nil, false, "selection is annotated"},
		{"opt-in", "", `{"selection":"annotated"}`, "shop", in, true, "annotation"},
		{"a namespace named as nobody is", "", `{"namespaces":{"shop":{"select":false}}}`, "", nil, true, "all"},
	} {
		got, why := selection.Select(confOf(t, tc.conf), policyOf(t, tc.policy), selection.Pod{Namespace: tc.namespace, Annotations: tc.annotations})
		if got != tc.want || !strings.Contains(why, tc.why) {
			t.Errorf("%s: %v, %q", tc.name, got, why)
		}
	}
}

func TestLabelsAndSidecarsSelect(t *testing.T) {
	t.Parallel()
	said := func(value string) map[string]string { return map[string]string{"sluice.dev/inject": value} }
	istio := map[string]string{"sidecar.istio.io/status": "{}", "sluice.dev/inject": "true"}
	for _, tc := range []struct {
		name, policy string
		pod          selection.Pod
		want         bool
		why, alone   string
	}{
		{"a label takes a pod out", "", selection.Pod{Labels: said("false")}, false, "label sluice.dev/inject is false", ""},
		{"and in", `{"selection":"annotated"}`, selection.Pod{Labels: said("true")}, true, "label sluice.dev/inject", ""},
		{"its annotation wins over it", "", selection.Pod{Labels: said("false"), Annotations: said("true")}, true, "", ""},
		{"the other way too", "", selection.Pod{Labels: said("true"), Annotations: said("false")}, false, "annotation sluice.dev/inject is false", ""},
		{"a label that says neither is no word", `{"selection":"annotated"}`, selection.Pod{Labels: said("enabled")}, false, "neither annotation nor label", ""},
		{"enforced, a label is no way out", `{"enforce":["inject"]}`, selection.Pod{Labels: said("false")}, true, "enforces", ""},
		{"Istio's sidecar", "", selection.Pod{Annotations: istio}, false, "Istio's sidecar serves it", "Istio"},
		{"Linkerd's", "", selection.Pod{Annotations: map[string]string{"linkerd.io/proxy-version": "edge"}}, false, "Linkerd's sidecar", "Linkerd"},
		{"one by its container", `{"namespaces":{"shop":{"select":true}}}`, selection.Pod{Sidecar: "Linkerd"}, false, "Linkerd's sidecar", "Linkerd"},
		{"no sidecar, only the wish for one", "", selection.Pod{Annotations: map[string]string{"sidecar.istio.io/inject": "true"}}, true, "", ""},
		{"enforced, a sidecar is no way out", `{"enforce":["inject"]}`, selection.Pod{Annotations: istio}, true, "enforces", ""},
		{"exempt, and with a sidecar", `{"exemptNamespaces":["shop"]}`, selection.Pod{Annotations: istio}, false, "exemptNamespaces", ""},
	} {
		tc.pod.Namespace = "shop"
		c, p := confOf(t, ""), policyOf(t, tc.policy)
		got, why := selection.Select(c, p, tc.pod)
		if got != tc.want || !strings.Contains(why, tc.why) {
			t.Errorf("%s: %v, %q", tc.name, got, why)
		}
		if alone := selection.LeftAlone(c, p, tc.pod); alone != tc.alone {
			t.Errorf("%s: left alone for %q", tc.name, alone)
		}
	}
}

func TestAnotherMeshBesideIsWarnedOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pod   selection.Pod
		warns string
	}{
		{selection.Pod{Sidecar: "Istio"}, "Istio's sidecar redirects"},
		{selection.Pod{Labels: map[string]string{"istio.io/dataplane-mode": "ambient"}}, "ambient"},
		{selection.Pod{Annotations: map[string]string{"ambient.istio.io/redirection": "enabled"}}, "ambient"},
		{selection.Pod{Labels: map[string]string{"sluice.dev/inject": "false"}}, "label sluice.dev/inject is ignored"},
	} {
		d, err := selection.Decide(confOf(t, ""), policyOf(t, `{"enforce":["inject"]}`), tc.pod, noRanges)
		if err != nil || len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0].String(), tc.warns) {
			t.Errorf("%+v: %v %v", tc.pod, d.Warnings, err)
		}
	}
}

func TestWhoSaysWhatIsNotRegisteredMayDo(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, conf, policy, want, warns string }{
		{"nobody", "", "", "", ""},
		{"the policy", "", `{"outboundPolicy":"ALLOW_ANY"}`, "ALLOW_ANY", ""},
		{"the namespace's", "", `{"outboundPolicy":"REGISTRY_ONLY","namespaces":{"shop":{"outboundPolicy":"Observe"}}}`, "Observe", ""},
		{"another namespace's", "", `{"namespaces":{"bank":{"outboundPolicy":"Observe"}}}`, "", ""},
		{"enforced", "", `{"outboundPolicy":"REGISTRY_ONLY","enforce":["outboundPolicy"],"namespaces":{"shop":{"outboundPolicy":"Observe"}}}`, "REGISTRY_ONLY", "Observe of namespace shop is ignored"},
		{"enforced with everything, by who says nothing", "", `{"enforce":["*"],"namespaces":{"shop":{"outboundPolicy":"Observe"}}}`, "", "is ignored"},
		{"the entry has no say", `"enforce":"*"`, `{"namespaces":{"shop":{"outboundPolicy":"Observe"}}}`, "Observe", ""},
	} {
		d, err := selection.Decide(confOf(t, tc.conf), policyOf(t, tc.policy), selection.Pod{Namespace: "shop"}, noRanges)
		if err != nil || d.Outbound != tc.want || (len(d.Warnings) > 0) != (tc.warns != "") || tc.warns != "" && !strings.Contains(d.Warnings[0].String(), tc.warns) {
			t.Errorf("%s: %q %v %v", tc.name, d.Outbound, d.Warnings, err)
		}
	}
	_, err := selection.Decide(confOf(t, ""), nil, selection.Pod{Annotations: map[string]string{"sluice.dev/outboundPolicy": "Observe"}}, noRanges)
	if err == nil || !strings.Contains(err.Error(), "put it on the namespace") {
		t.Errorf("a pod's own: %v", err)
	}
	if err := (&selection.Policy{OutboundPolicy: "observe"}).Validate(); err == nil || !strings.Contains(err.Error(), `outboundPolicy "observe": not a known value; use Observe`) {
		t.Error(err)
	}
}

func TestUnderObserveWhatIsNotTCPPasses(t *testing.T) {
	t.Parallel()
	const shop = `"namespaces":{"shop":{"outboundPolicy":"Observe"}}`
	for _, tc := range []struct{ name, conf, policy, annotation, want string }{
		{"nobody observes", "", `{"outboundPolicy":"ALLOW_ANY"}`, "", "reject"},
		{"the node", "", `{"outboundPolicy":"Observe"}`, "", "allow"},
		{"the namespace", "", `{"outboundPolicy":"REGISTRY_ONLY",` + shop + `}`, "", "allow"},
		{"the namespace does not", "", `{"outboundPolicy":"Observe","namespaces":{"shop":{"outboundPolicy":"REGISTRY_ONLY"}}}`, "", "reject"},
		{"the namespace may not", "", `{"outboundPolicy":"REGISTRY_ONLY","enforce":["outboundPolicy"],` + shop + `}`, "", "reject"},
		{"less near ones say otherwise", `"nonTCP":"reject"`, `{"defaults":{"nonTCP":"reject"},` + shop + `}`, "", "allow"},
		{"the namespace says otherwise", "", `{"namespaces":{"shop":{"outboundPolicy":"Observe","defaults":{"nonTCP":"reject"}}}}`, "", "reject"},
		{"the pod says otherwise", "", `{` + shop + `}`, "reject", "reject"},
		{"enforced by the entry", `"enforce":["nonTCP"]`, `{"outboundPolicy":"Observe"}`, "", "reject"},
		{"enforced by the node", "", `{"enforce":["nonTCP"],` + shop + `}`, "", "reject"},
		{"enforced for the namespace, by whoever", "", `{"namespaces":{"shop":{"outboundPolicy":"Observe","enforce":["nonTCP"]}}}`, "", "reject"},
		{"enforced by who observes", "", `{"outboundPolicy":"Observe","enforce":["*"]}`, "reject", "allow"},
		{"enforced by the namespace that observes", "", `{"namespaces":{"shop":{"outboundPolicy":"Observe","enforce":["*"]}}}`, "reject", "allow"},
	} {
		pod := selection.Pod{Namespace: "shop"}
		if tc.annotation != "" {
			pod.Annotations = map[string]string{"sluice.dev/nonTCP": tc.annotation}
		}
		policy := policyOf(t, tc.policy)
		d, err := selection.Decide(confOf(t, tc.conf), policy, pod, noRanges)
		if got := field(d.Config, "nonTCP"); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v", tc.name, got, err)
		}
		if policy.Defaults["nonTCP"] != nil && string(policy.Defaults["nonTCP"]) != `"reject"` {
			t.Errorf("%s: the policy was changed", tc.name)
		}
	}
}

func field(c rules.Config, name string) string {
	for _, f := range rules.Fields() {
		if f.Name == name {
			return f.Value(c)
		}
	}
	return "no field " + name
}

// default < configuration < policy < the namespace's < annotation < who enforces, the
// first of them.
func TestWhoseWordHolds(t *testing.T) {
	t.Parallel()
	annotation := map[string]string{"sluice.dev/nonTCP": "reject", "traffic.sidecar.istio.io/excludeOutboundPorts": "1"}
	for _, tc := range []struct {
		name, conf, policy string
		annotations        map[string]string
		field, want, warns string
	}{
		{"the default", "", "", nil, "excludeOutboundPorts", "", ""},
		{"the entry", `"excludeOutboundPorts":5`, "", nil, "excludeOutboundPorts", "5", ""},
		{"the policy", `"excludeOutboundPorts":5`, `{"defaults":{"excludeOutboundPorts":"4"}}`, nil, "excludeOutboundPorts", "4", ""},
		{"the namespace's", `"excludeOutboundPorts":5`, `{"defaults":{"excludeOutboundPorts":"4"},"namespaces":{"shop":{"defaults":{"excludeOutboundPorts":"3"}}}}`, nil, "excludeOutboundPorts", "3", ""},
		{"the annotation", `"excludeOutboundPorts":5`, `{"defaults":{"excludeOutboundPorts":"4"},"namespaces":{"shop":{"defaults":{"excludeOutboundPorts":"3"}}}}`, annotation, "excludeOutboundPorts", "1", ""},
		{"enforced by the namespace", "", `{"defaults":{"excludeOutboundPorts":"4"},"namespaces":{"shop":{"defaults":{"excludeOutboundPorts":"3"},"enforce":["excludeOutboundPorts"]}}}`, annotation, "excludeOutboundPorts", "3", "by the policy of namespace shop"},
		{"enforced by the policy", "", `{"defaults":{"excludeOutboundPorts":"4"},"enforce":["*"],"namespaces":{"shop":{"defaults":{"excludeOutboundPorts":"3"}}}}`, annotation, "excludeOutboundPorts", "4", "by the policy:"},
		{"enforced by the entry", `"enforce":"excludeOutboundPorts"`, `{"defaults":{"excludeOutboundPorts":"4"}}`, annotation, "excludeOutboundPorts", "", "by the configuration"},
		{"being captured is enforced", "", `{"enforce":["inject"]}`, map[string]string{"sluice.dev/inject": "false"}, "excludeOutboundPorts", "", "inject is enforced by the policy: annotation sluice.dev/inject is ignored"},
		{"another is enforced", "", `{"enforce":["nonTCP"]}`, annotation, "excludeOutboundPorts", "1", "nonTCP"},
	} {
		d, err := selection.Decide(confOf(t, tc.conf), policyOf(t, tc.policy), selection.Pod{Namespace: "shop", Annotations: tc.annotations}, noRanges)
		if err != nil || !d.Selected {
			t.Errorf("%s: %+v %v", tc.name, d, err)
			continue
		}
		if got := field(d.Config, tc.field); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		var said []string
		for _, w := range d.Warnings {
			said = append(said, w.String())
		}
		if text := strings.Join(said, "; "); tc.warns == "" && strings.Contains(text, "enforced") || !strings.Contains(text, tc.warns) {
			t.Errorf("%s: warned %q", tc.name, text)
		}
	}
}

// Istio ignores a misspelt annotation, and so manifests have them: the pod starts.
func TestAMisspeltAnnotationOfIstiosIsWarnedOf(t *testing.T) {
	t.Parallel()
	pod := selection.Pod{Annotations: map[string]string{
		"traffic.sidecar.istio.io/excludeOutboundIpRanges": "10.0.0.0/8",
		"traffic.sidecar.istio.io/excludeIPRanges":         "10.0.0.0/8",
		"traffic.sidecar.istio.io/kubevirtInterfaces":      "k6t-eth0",
		"sidecar.istio.io/inject":                          "false",
	}}
	d, err := selection.Decide(selection.Conf{}, nil, pod, noRanges)
	if err != nil || !d.Selected {
		t.Fatal(d, err)
	}
	var got []string
	for _, w := range d.Warnings {
		got = append(got, w.String())
	}
	const right = ": unknown, and has no effect; did you mean traffic.sidecar.istio.io/excludeOutboundIPRanges"
	want := []string{"annotation traffic.sidecar.istio.io/excludeIPRanges" + right, "annotation traffic.sidecar.istio.io/excludeOutboundIpRanges" + right}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestMalformedAnnotationsFailOrPassByPolicyAndAreNoWayOut(t *testing.T) {
	t.Parallel()
	bad := map[string]string{"sluice.dev/nonTCP": "maybe"}
	together := map[string]string{"sluice.dev/dnsCapture": "true", "sluice.dev/dnsPort": "15001"}
	for _, tc := range []struct {
		name, conf, policy string
		annotations        map[string]string
		selected           bool
		err                string
	}{
		{"by default", "", "", bad, true, `annotation sluice.dev/nonTCP: nonTCP "maybe"`},
		{"fail", "", `{"onInvalid":"fail"}`, bad, true, "maybe"},
		{"pass", "", `{"onInvalid":"pass"}`, bad, false, ""},
		{"pass, a combination", "", `{"onInvalid":"pass"}`, together, false, ""},
		{"pass, an unknown one", "", `{"onInvalid":"pass"}`, map[string]string{"sluice.dev/nonsense": ""}, false, ""},
		{"pass, what an agent cannot serve", node, `{"onInvalid":"pass"}`, map[string]string{"sluice.dev/exemptUIDs": "0"}, false, ""},
		{"pass, but not in the namespace", "", `{"onInvalid":"pass","namespaces":{"shop":{"onInvalid":"fail"}}}`, bad, true, "maybe"},
		{"pass in the namespace", "", `{"namespaces":{"shop":{"onInvalid":"pass"}}}`, bad, false, ""},
		{"pass, enforced", "", `{"onInvalid":"pass","enforce":["inject"]}`, bad, true, "maybe"},
		{"pass, enforced by the entry", `"enforce":"inject"`, `{"onInvalid":"pass"}`, bad, true, "maybe"},
		{"pass, enforced by the namespace", "", `{"onInvalid":"pass","namespaces":{"shop":{"enforce":["inject"]}}}`, bad, true, "maybe"},
		{"pass, the field is enforced", "", `{"onInvalid":"pass","enforce":["nonTCP"]}`, bad, true, ""},
		{"pass, and the entry is broken", `"nonTCP":"nope"`, `{"onInvalid":"pass"}`, map[string]string{"sluice.dev/dnsCapture": "true"}, true, `nonTCP "nope"`},
		{"pass, and ranges are missing", `"includeIPRanges":"auto"`, `{"onInvalid":"pass"}`, map[string]string{"sluice.dev/dnsCapture": "true"}, true, "no ranges"},
	} {
		d, err := selection.Decide(confOf(t, tc.conf), policyOf(t, tc.policy), selection.Pod{Namespace: "shop", Annotations: tc.annotations}, noRanges)
		if d.Selected != tc.selected || (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %+v, %v", tc.name, d, err)
		}
		if !d.Selected && !strings.Contains(d.Why, "malformed") {
			t.Errorf("%s: why %q", tc.name, d.Why)
		}
	}
}

// A pod that runs cannot be refused: what is enforced reaches it, whatever it wrote.
func TestNonsenseKeepsNothingEnforcedFromARunningPod(t *testing.T) {
	t.Parallel()
	const excluded = "traffic.sidecar.istio.io/excludeOutboundIPRanges"
	for _, tc := range []struct {
		name, conf, policy string
		annotations        map[string]string
		err, ports, ranges string
	}{
		{"nothing is enforced", "", "", map[string]string{"sluice.dev/x": "y"}, "sluice.dev/x", "", ""},
		{"inject is, by the namespace", "", `{"selection":"annotated","namespaces":{"shop":{"select":true,"enforce":["inject"]}}}`,
			map[string]string{"sluice.dev/x": "y", "traffic.sidecar.istio.io/excludeOutboundPorts": "22"}, "", "22", ""},
		{"a field is, and another cannot be read", "", `{"defaults":{"excludeIPRanges":"192.0.2.0/24"},"enforce":["excludeIPRanges"]}`,
			map[string]string{excluded: "0.0.0.0/0", "traffic.sidecar.istio.io/excludeOutboundPorts": "many"}, "", "", "192.0.2.0/24"},
		{"several that make no sense together", "", `{"enforce":["inject"]}`,
			map[string]string{"sluice.dev/dnsCapture": "true", "sluice.dev/dnsPort": "15001", excluded: "192.0.2.0/24"}, "", "", "192.0.2.0/24"},
		{"passing is no way out", "", `{"onInvalid":"pass","enforce":["inject"]}`, map[string]string{"sluice.dev/inject": "no", excluded: "x"}, "", "", ""},
		{"what is broken without them is", `"nonTCP":"nope"`, `{"enforce":["inject"]}`, map[string]string{"sluice.dev/x": "y"}, `nonTCP "nope"`, "", ""},
	} {
		pod := selection.Pod{Namespace: "shop", Annotations: tc.annotations}
		d, err := selection.DecideRunning(confOf(t, tc.conf), policyOf(t, tc.policy), pod, noRanges)
		if !d.Selected || (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %+v, %v", tc.name, d, err)
			continue
		}
		if err != nil {
			continue
		}
		if ports, ranges := field(d.Config, "excludeOutboundPorts"), field(d.Config, "excludeIPRanges"); ports != tc.ports || ranges != tc.ranges {
			t.Errorf("%s: ports %q, ranges %q", tc.name, ports, ranges)
		}
		if len(d.Warnings) == 0 || !strings.Contains(d.Warnings[0].String(), "is malformed is left out") {
			t.Errorf("%s: warnings %v", tc.name, d.Warnings)
		}
		if _, err := selection.Decide(confOf(t, tc.conf), policyOf(t, tc.policy), pod, noRanges); err == nil {
			t.Errorf("%s: a pod that starts is not refused", tc.name)
		}
	}
}

func TestAPolicyFileIsWholeOrNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "policy.json")
	if _, err := selection.ReadFile(path); !errors.Is(err, selection.ErrNone) || errors.Is(err, selection.ErrTorn) {
		t.Errorf("%v", err)
	}
	p := policyOf(t, `{"selection":"annotated","namespaces":{"shop":{"select":true,"defaults":{"nonTCP":"allow"}}}}`)
	for i, want := range []struct {
		changed    bool
		generation uint64
	}{{true, 1}, {false, 1}, {true, 2}} {
		if i == 2 {
			p.Selection = "all"
		}
		changed, err := selection.Keep(path, p)
		if err != nil || changed != want.changed || p.Generation != want.generation {
			t.Errorf("%d: %v %d %v", i, changed, p.Generation, err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := selection.ReadFile(path); err != nil || got.Generation != 2 || !selection.Same(got, p) {
		t.Errorf("%+v %v", got, err)
	}
	// Cut off anywhere, and with any byte another: but for the newline at its end.
	for n := range len(whole) - 1 {
		for _, data := range [][]byte{whole[:n], append(append(append([]byte{}, whole[:n]...), whole[n]^1), whole[n+1:]...)} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := selection.ReadFile(path); !errors.Is(err, selection.ErrTorn) {
				t.Fatalf("%q: %v", data, err)
			}
		}
	}
	if changed, err := selection.Keep(path, p); err != nil || !changed || p.Generation != 1 {
		t.Errorf("over a torn one: %v %v %d", changed, err, p.Generation)
	}
	p.Selection = "nobody"
	if err := p.WriteFile(path); err == nil || !strings.Contains(err.Error(), `selection "nobody"`) {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := selection.ReadFile(path); !errors.Is(err, selection.ErrTorn) {
		t.Errorf("a directory: %v", err)
	}
}

func TestSourcesTogether(t *testing.T) {
	t.Parallel()
	a := policyOf(t, `{"generation":1,"exemptNamespaces":["a"],"defaults":{"nonTCP":"allow"},"namespaces":{"shop":{"select":true},"off":{"select":false},"b":{"select":true}}}`)
	b := policyOf(t, `{"generation":3,"exemptNamespaces":["a","b"],"selection":"annotated","enforce":["nonTCP"],"onInvalid":"pass","outboundPolicy":"Observe","defaults":{"nonTCP":"reject","dnsCapture":"true"},`+
		`"namespaces":{"shop":{"select":false,"outboundPolicy":"ALLOW_ANY"},"web":{"select":false},"off":{"enforce":["inject"]}}}`)
	merged := selection.Merge(nil, a, nil, b)
	got, err := json.Marshal(merged)
	if err := errors.Join(err, merged.Validate()); err != nil {
		t.Fatal(err)
	}
	const want = `{"generation":3,"exemptNamespaces":["a","b"],"selection":"annotated","defaults":{"dnsCapture":"true","nonTCP":"allow"},"enforce":["nonTCP"],"onInvalid":"pass","outboundPolicy":"Observe",` +
		`"namespaces":{"off":{"enforce":["inject"]},"shop":{"select":true,"outboundPolicy":"ALLOW_ANY"},"web":{"select":false}}}`
	if string(got) != want {
		t.Errorf("%s", got)
	}
	if len(a.ExemptNamespaces) != 1 || len(a.Namespaces) != 3 || a.Selection != "" {
		t.Errorf("a source's own was changed: %+v", a)
	}
	if selection.Merge(nil, nil) != nil {
		t.Error("something of nothing")
	}
}

// Who may edit a Namespace cannot undo what the operator enforces for just that one.
func TestWhatIsEnforcedForANamespaceNoLaterSourceSetsThere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, operator, namespace, want string }{
		{"everything", `{"selection":"all","namespaces":{"shop":{"enforce":["*"]}}}`,
			`{"namespaces":{"shop":{"select":false,"outboundPolicy":"ALLOW_ANY","defaults":{"excludeIPRanges":"0.0.0.0/0"}}}}`,
			`{"generation":0,"selection":"all","namespaces":{"shop":{"enforce":["*"]}}}`},
		{"a field", `{"namespaces":{"shop":{"enforce":["excludeIPRanges"]}}}`,
			`{"namespaces":{"shop":{"select":false,"outboundPolicy":"ALLOW_ANY","defaults":{"excludeIPRanges":"0.0.0.0/0","dnsCapture":"true"}}}}`,
			`{"generation":0,"namespaces":{"shop":{"select":false,"defaults":{"dnsCapture":"true"},"enforce":["excludeIPRanges"],"outboundPolicy":"ALLOW_ANY"}}}`},
		{"what nothing is registered for", `{"outboundPolicy":"REGISTRY_ONLY","namespaces":{"shop":{"enforce":["outboundPolicy"]}}}`,
			`{"namespaces":{"shop":{"outboundPolicy":"ALLOW_ANY"}}}`,
			`{"generation":0,"outboundPolicy":"REGISTRY_ONLY","namespaces":{"shop":{"enforce":["outboundPolicy"]}}}`},
		{"what it gives itself", `{"namespaces":{"shop":{"outboundPolicy":"Observe","defaults":{"nonTCP":"reject"},"enforce":["*"]}}}`,
			`{"namespaces":{"shop":{"select":true,"outboundPolicy":"ALLOW_ANY","defaults":{"nonTCP":"allow"}}}}`,
			`{"generation":0,"namespaces":{"shop":{"select":true,"defaults":{"nonTCP":"reject"},"enforce":["*"],"outboundPolicy":"Observe"}}}`},
	} {
		theirs := policyOf(t, tc.namespace)
		before, err := json.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		merged := selection.Merge(policyOf(t, tc.operator), theirs)
		got, err := json.Marshal(merged)
		if err := errors.Join(err, merged.Validate()); err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, %v\nwant %s", tc.name, got, err, tc.want)
		}
		if after, _ := json.Marshal(theirs); string(after) != string(before) {
			t.Errorf("%s: a source's own was changed: %s", tc.name, after)
		}
	}
}
