package plugin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// annotated is conf as a runtime hands it over for a pod with annotations.
func annotated(t testing.TB, fields string, annotations map[string]string) string {
	t.Helper()
	text, err := json.Marshal(annotations)
	if err != nil {
		t.Fatal(err)
	}
	handed := fmt.Sprintf(`"capabilities":{"io.kubernetes.cri.pod-annotations":true},"runtimeConfig":{"portMappings":[],"io.kubernetes.cri.pod-annotations":%s}`, text)
	if fields != "" {
		handed = fields + "," + handed
	}
	return conf(handed)
}

// stored is the configuration that the namespace's rules were made from.
func stored(t testing.TB, ns *lab.Namespace) rules.Config {
	t.Helper()
	c, found, err := nft.Stored(ns.FD())
	if err != nil || !found {
		t.Fatalf("no rules in the namespace: %v", err)
	}
	return c
}

func value(t testing.TB, c rules.Config, field string) string {
	t.Helper()
	for _, f := range rules.Fields() {
		if f.Name == field {
			return f.Value(c)
		}
	}
	t.Fatalf("no field %s", field)
	return ""
}

// Every field can be set by its annotation and means what the JSON field means.
func TestEveryAnnotationSetsItsField(t *testing.T) {
	t.Parallel()
	needs := map[string]map[string]string{ // what else makes the example a good configuration
		"exemption":     {"sluice.dev/exemptCgroups": ""},
		"exemptMark":    {"sluice.dev/exemption": "mark"},
		"exemptCgroups": {"sluice.dev/exemption": "cgroup"},
	}
	for _, f := range rules.Fields() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			annotations := map[string]string{f.Annotation: f.Example}
			for k, v := range needs[f.Name] {
				annotations[k] = v
			}
			ns := pod(t)
			if f.Name == "exemptCgroups" {
				annotations[f.Annotation] = "/no/such/cgroup"
				fails := call{verb: "ADD", netns: ns.Path(), stdin: annotated(t, "", annotations)}.run(t).failed(t)
				if !strings.Contains(fails.Details, "/no/such/cgroup") {
					t.Errorf("%+v", fails)
				}
				return
			}
			want := rules.Default()
			if _, err := want.Set(f.Name, f.Example); err != nil {
				t.Fatal(err)
			}
			stdin := annotated(t, "", annotations)
			call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
			call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
			if got := value(t, stored(t, ns), f.Name); got != f.Value(want) {
				t.Errorf("%s: %q, want %q", f.Annotation, got, f.Value(want))
			}
			call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
			if left := tables(t, ns); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestAnAnnotationWinsOverTheConfigurationUnlessThatEnforces(t *testing.T) {
	t.Parallel()
	const include = "traffic.sidecar.istio.io/includeOutboundIPRanges"
	for _, tc := range []struct {
		name, fields string
		annotations  map[string]string
		field, want  string
		warns        string
	}{
		{"neither", "", nil, "includeIPRanges", "*", ""},
		{"configuration over default", `"includeIPRanges":"10.0.0.0/8"`, nil, "includeIPRanges", "10.0.0.0/8", ""},
		{"annotation over configuration", `"includeIPRanges":"10.0.0.0/8"`, map[string]string{include: "192.0.2.0/24"}, "includeIPRanges", "192.0.2.0/24", ""},
		{"an empty annotation is none", `"includeIPRanges":"10.0.0.0/8"`, map[string]string{include: ""}, "includeIPRanges", "", ""},
		{"enforced", `"includeIPRanges":"10.0.0.0/8","enforce":["includeIPRanges"]`, map[string]string{include: "192.0.2.0/24"}, "includeIPRanges", "10.0.0.0/8", "annotation " + include + " is ignored"},
		{"an enforced default", `"enforce":"includeIPRanges"`, map[string]string{include: "192.0.2.0/24"}, "includeIPRanges", "*", "is ignored"},
		{"enforced, and a bad annotation", `"enforce":"*"`, map[string]string{include: "nope"}, "includeIPRanges", "*", "is ignored"},
		{"another enforced", `"enforce":"nonTCP, excludeIPRanges"`, map[string]string{include: "192.0.2.0/24"}, "includeIPRanges", "192.0.2.0/24", ""},
		{"everything enforced", `"enforce":"*"`, map[string]string{"sluice.dev/nonTCP": "allow"}, "nonTCP", "reject", "is ignored"},
		{"the older name", "", map[string]string{"traffic.sidecar.istio.io/kubevirtInterfaces": "tap0"}, "rerouteInterfaces", "tap0", ""},
		{"the newer name beside it", "", map[string]string{"traffic.sidecar.istio.io/kubevirtInterfaces": "tap0", "istio.io/reroute-virtual-interfaces": "tap1"}, "rerouteInterfaces", "tap1", ""},
		{"Istio's and others' own", "", map[string]string{"traffic.sidecar.istio.io/interceptionMode": "TPROXY", "sidecar.istio.io/inject": "false", "example.com/x": "\x00<&"}, "includeIPRanges", "*", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			out := call{verb: "ADD", netns: ns.Path(), stdin: annotated(t, tc.fields, tc.annotations)}.run(t)
			out.succeeded(t)
			if got := value(t, stored(t, ns), tc.field); got != tc.want {
				t.Errorf("%s is %q, want %q", tc.field, got, tc.want)
			}
			if warned := strings.Contains(out.stderr, "ignored"); warned != (tc.warns != "") || !strings.Contains(out.stderr, tc.warns) {
				t.Errorf("said %q, want %q", out.stderr, tc.warns)
			}
		})
	}
}

func TestBadAnnotationsAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	stdin := annotated(t, `"outboundPort":70000`, map[string]string{
		"traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/33,nope",
		"traffic.sidecar.istio.io/excludeOutboundPorts":    "70000",
		"sluice.dev/dnsCapture":                            "maybe",
		"sluice.dev/nontcp":                                "allow",
		"sluice.dev/includeIPRanges":                       "*",
		"sluice.dev/Inject":                                "false",
		"sluice.dev/nonsense":                              "1",
	})
	f := call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).failed(t)
	if f.Code != 7 {
		t.Errorf("code %d", f.Code)
	}
	for _, want := range []string{
		`outboundPort "70000"`,
		`annotation traffic.sidecar.istio.io/includeOutboundIPRanges: includeIPRanges element 1 "10.0.0.0/33"`,
		`annotation traffic.sidecar.istio.io/includeOutboundIPRanges: includeIPRanges element 2 "nope"`,
		`annotation traffic.sidecar.istio.io/excludeOutboundPorts: excludeOutboundPorts element 1 "70000"`,
		`annotation sluice.dev/dnsCapture: dnsCapture "maybe"`,
		`annotation sluice.dev/nontcp: unknown; did you mean sluice.dev/nonTCP`,
		`annotation sluice.dev/includeIPRanges: unknown; did you mean traffic.sidecar.istio.io/includeOutboundIPRanges`,
		`annotation sluice.dev/Inject: unknown; did you mean sluice.dev/inject`,
		`annotation sluice.dev/nonsense: unknown; remove it or correct its name`,
	} {
		if !strings.Contains(f.Details, want) {
			t.Errorf("does not say %q:\n%s", want, strings.ReplaceAll(f.Details, "; annotation", ";\nannotation"))
		}
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestBadPluginKeysAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	stdin := conf(`"selection":"some","excludeNamespaces":[7],"interfaces":[],"enforce":["includeIPRange"],"timeout":"1h","runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":1}}`)
	f := call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t).failed(t)
	for _, want := range []string{
		`selection "some": not a known value; use all or annotated`, "excludeNamespaces \"[7]\": not a list of strings",
		`interfaces "": empty`, `enforce "includeIPRange": not a field`, `timeout "1h": not a duration`, "pod-annotations",
	} {
		if f.Code != 7 || !strings.Contains(f.Details, want) {
			t.Errorf("does not say %q: %+v", want, f)
		}
	}
}
