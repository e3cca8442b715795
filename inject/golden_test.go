package inject

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the wanted texts anew")

func sidecar() *Sidecar {
	return &Sidecar{Image: "sluice:1.0", ConfigMap: "egress", MetricsPort: 15090}
}

func TestWhatIsPutIntoManifests(t *testing.T) {
	t.Parallel()
	plugin := sidecar()
	plugin.Plugin = true
	for out, c := range map[string]struct {
		in string
		Options
	}{
		"foreign.out.yaml":        {"foreign.in.yaml", Options{Sidecar: sidecar()}},
		"sleep.out.yaml":          {"sleep.in.yaml", Options{}},
		"sleep-ranges.out.yaml":   {"sleep.in.yaml", Options{Fields: map[string]string{"includeIPRanges": "10.0.0.1/24"}}},
		"sleep-sidecar.out.yaml":  {"sleep.in.yaml", Options{Sidecar: sidecar()}},
		"list.out.yaml":           {"list.in.yaml", Options{Fields: map[string]string{"includeIPRanges": "10.4.0.0/14,10.7.240.0/20", "dnsCapture": "true"}}},
		"object.out.json":         {"object.in.json", Options{Fields: map[string]string{"excludeOutboundPorts": "22"}}},
		"object-sidecar.out.json": {"object.in.json", Options{Sidecar: sidecar()}},
		"job-sidecar.out.yaml":    {"job.in.yaml", Options{Sidecar: sidecar(), Fields: map[string]string{"dnsCapture": "true", "outboundPort": "15021", "exemptUIDs": "2000"}}},
		"job-plugin.out.yaml":     {"job.in.yaml", Options{Sidecar: plugin}},
	} {
		t.Run(out, func(t *testing.T) {
			t.Parallel()
			got, err := Inject(c.in, read(t, c.in), c.Options)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, out, string(got.Text))
			golden(t, out[:strings.Index(out, ".")]+".notes", strings.Join(append(got.Notes, ""), "\n"))
			again, err := Inject(c.in, got.Text, c.Options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(got.Text), string(again.Text)); diff != "" {
				t.Errorf("a second time changes it:\n%s", diff)
			}
		})
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden compares with a file, which is not there where nothing is wanted.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update && got != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// A sidecar of an earlier version is replaced where it stands, and as an API server gives
// it back, with defaults among its fields.
func TestASidecarThatIsThereIsReplaced(t *testing.T) {
	t.Parallel()
	older := sidecar()
	older.Image = "sluice:0.9"
	for _, in := range []string{"job.in.yaml", "object.in.json"} {
		first, err := Inject(in, read(t, in), Options{Sidecar: older})
		if err != nil {
			t.Fatal(err)
		}
		second, err := Inject(in, first.Text, Options{Sidecar: sidecar()})
		if err != nil {
			t.Fatal(err)
		}
		want, err := Inject(in, read(t, in), Options{Sidecar: sidecar()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want.Text), string(second.Text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	t.Parallel()
	const head = "a: 1\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n"
	for text, c := range map[string]struct {
		Options
		want string
	}{
		head + "  annotations: {sluice.dev/nonTCP: maybe, sluice.dev/dnsport: 1}\n": {Options{},
			"web.yaml:3: Pod/web: annotation sluice.dev/dnsport: unknown; did you mean sluice.dev/dnsPort\n" +
				`web.yaml:3: Pod/web: annotation sluice.dev/nonTCP: nonTCP "maybe": not a known value; use reject or allow`},
		head + "  annotations: &a {b: c}\n": {Options{}, "web.yaml:3: Pod/web: metadata.annotations is a YAML anchor or alias, and would change elsewhere too; write out what it stands for"},
		"spec: &s {template: {}}\nitems:\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: b}, spec: *s}\nkind: List\n": {Options{},
			"web.yaml:3: Deployment/b: its pods' template is a YAML anchor or alias, or within one, and would change elsewhere too; write out what it stands for"},
		"apiVersion: v1\nkind: List\nbase: &a {apiVersion: v1, kind: Pod, metadata: {name: a}}\nitems: [*a]\n": {Options{},
			"web.yaml:3: Pod/a: its pods' template is a YAML anchor or alias, or within one, and would change elsewhere too; write out what it stands for"},
		"apiVersion: &v apps/v1\nkind: Deployment\nbase: &b {template: {}}\nspec: {<<: *b}\n": {Options{},
			"web.yaml:1: Deployment/: its pods' template is a YAML anchor or alias, or within one, and would change elsewhere too; write out what it stands for"},
		head + "spec: {containers: &c [{name: istio-proxy}], initContainers: *c}\n": {Options{Sidecar: sidecar()},
			"web.yaml:3: Pod/web: has no room for a sidecar: Istio's sidecar serves it"},
		head + "  labels: {app: {{ .x }}}\n": {Options{}, "web.yaml:2: not YAML: invalid map key: map[string]interface {}{\".x\":interface {}(nil)}"},
		head + "spec: {securityContext: {runAsUser: 1337}}\n": {Options{Sidecar: sidecar()},
			"web.yaml:3: Pod/web: exemptUIDs 1337: the pod runs as that user (runAsUser) and would go around the sidecar; name another user, as --exempt-uids=1338"},
		head + "spec: {containers: [{name: c, securityContext: {runAsUser: 2000}}]}\n": {Options{Sidecar: sidecar(), Fields: map[string]string{"exemptUIDs": "2000"}},
			"web.yaml:3: Pod/web: exemptUIDs 2000: container c runs as that user (runAsUser) and would go around the sidecar; name another user, as --exempt-uids=2001"},
		head + "  annotations: {sluice.dev/exemptUIDs: '1337,1000'}\n": {Options{Sidecar: sidecar()},
			"web.yaml:3: Pod/web: exemptUIDs 1000,1337: with a sidecar all but the proxy's own go around it; name the proxy's alone"},
		head + "  annotations: {sluice.dev/exemptUIDs: '0'}\n": {Options{Sidecar: sidecar()},
			"web.yaml:3: Pod/web: exemptUIDs 0: all that root does would go around the sidecar; name another user"},
		head + "  annotations: {sluice.dev/exemptGIDs: '1000'}\n": {Options{Sidecar: sidecar()},
			"web.yaml:3: Pod/web: exemptGIDs 1000: with a sidecar they go around it; leave them out"},
		head + "spec: {containers: []}\n": {Options{Sidecar: &Sidecar{}},
			"web.yaml:3: Pod/web: has no sidecar yet, whose image would stay; name sluice's, where the cluster can pull it from, as --image=registry.example/sluice:1.0"},
		head + "spec: {initContainers: []}\n": {Options{Sidecar: &Sidecar{Image: "i", MetricsPort: 15001}},
			"web.yaml:3: Pod/web: port 15001 cannot be that of the sidecar's metrics as well: captured traffic goes there (outboundPort, dnsPort); name another with --metrics-port"},
		head + "spec: {containers: [{name: own, startupProbe: {httpGet: {port: http}}}]}\n": {Options{Sidecar: &Sidecar{Image: "i", MetricsPort: 15053}, Fields: map[string]string{"dnsCapture": "true"}},
			"web.yaml:3: Pod/web: port 15053 cannot be that of the sidecar's metrics as well: captured traffic goes there (outboundPort, dnsPort); name another with --metrics-port"},
		head + "  labels: {a: b, <<: {a: c}}\n": {Options{}, "web.yaml:2: line 6: a: stands before a YAML merge key (<<) that brings it too, which kubectl takes; write << first"},
		head + "spec: {hostNetwork: no, <<: [{hostNetwork: yes}]}\n": {Options{},
			"web.yaml:2: line 6: hostNetwork: stands before a YAML merge key (<<) that brings it too, which kubectl takes; write << first"},
		head + "  labels: {a: &k annotations}\n  annotations: {}\n  *k : {c: d}\n": {Options{}, "web.yaml:2: line 8: *k is a key; write out what it stands for"},
		head + "spec: {containers: [{name: sluice-proxy}], volumes: [{name: sluice-scratch}]}\n": {Options{Sidecar: sidecar()},
			"web.yaml:3: Pod/web: has a container sluice-proxy and a volume sluice-scratch of its own, which is what the sidecar's is called; call it otherwise"},
		head + "  name: again\n":      {Options{}, `web.yaml:2: not YAML: line 6: mapping key "name" already defined at line 5`},
		head + "  annotations: [a]\n": {Options{}, "web.yaml:3: Pod/web: is no template of pods: cannot unmarshal !!seq into map[string]string; correct it"},
		head + "  <<: {annotations: {a: b}}\n": {Options{},
			"web.yaml:3: Pod/web: metadata has a YAML merge key (<<), which may bring the same; write out what it stands for"},
		head + "  annotations:\n    sluice.dev/nonTCP: >-\n      reject\n": {Options{Fields: map[string]string{"nonTCP": "allow"}},
			"web.yaml:3: Pod/web: metadata.annotations.sluice.dev/nonTCP is written in a way that cannot be replaced, such as over several lines; write it in one"},
		"a: b: c\n": {Options{}, "web.yaml:1: not YAML: mapping values are not allowed in this context"},
		`{"kind": "Pod"}` + "\n" + `{"kind": "Pod"}`: {Options{}, "web.yaml:1: has something behind its end; put --- between two objects"},
		head: {Options{Sidecar: sidecar(), Fields: map[string]string{"includeIPRanges": "auto"}},
			`web.yaml:3: Pod/web: includeIPRanges "auto": only the node knows the cluster's ranges; write them, as 'sluice cidr' prints them, or give --rules plugin`},
		head + "spec: {}\n": {Options{Sidecar: sidecar(), Fields: map[string]string{"exemption": "mark", "exemptMark": "1", "exemptUIDs": ""}},
			`web.yaml:3: Pod/web: exemption "mark": a sidecar is known by its user; leave it out, and name the user in exemptUIDs if 1337 is taken`},
		head + "spec: {hostNetwork: 'true'}\n": {Options{Sidecar: sidecar()}, `web.yaml:3: Pod/web: hostNetwork "true": not a boolean; write true or false`},
		head + "spec: {hostNetwork: y}\n":      {Options{Sidecar: sidecar()}, `web.yaml:3: Pod/web: hostNetwork "y": not a boolean; write true or false`},
		head + "spec: {containers: [{name: istio-proxy}]}\n": {Options{Sidecar: sidecar()},
			"web.yaml:3: Pod/web: has no room for a sidecar: Istio's sidecar serves it"},
		head + "spec: {initContainers: [{name: sluice-rules}]}\n": {Options{Sidecar: &Sidecar{Image: "sluice", ConfigMap: "sluice", Plugin: true}},
			"web.yaml:3: Pod/web: has an init container sluice-rules, which makes the rules that are the plugin's to make now; take it out"},
		head + "spec: {initContainers: [{name: sluice-proxy}]}\n": {Options{},
			"web.yaml:3: Pod/web: has sluice's sidecar already (init container sluice-proxy); give --sidecar, or take it out"},
	} {
		out, err := Inject("web.yaml", []byte(text), c.Options)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s\ngives\n%v\nwant\n%s", text, err, c.want)
		}
		if out.Text != nil {
			t.Errorf("%s\ngives a text beside its errors", text)
		}
	}
}

// Another product's kind, of the same name too, is not changed, and that is said.
func TestAKindIsKnownByItsGroup(t *testing.T) {
	t.Parallel()
	for head, ours := range map[string]bool{
		"apiVersion: apps/v1\nkind: Deployment\n":                    true,
		"apiVersion: apps/v1beta1\nkind: Deployment\n":               true,
		"apiVersion: extensions/v1beta1\nkind: Deployment\n":         true,
		"apiVersion: extensions/v1beta1\nkind: DaemonSet\n":          true,
		"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n":          false,
		"apiVersion: apps.openshift.io/v1\nkind: DeploymentConfig\n": false,
		"apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\n":         false,
		"apiVersion: v1\nkind: Deployment\n":                         false,
	} {
		out, err := Inject("f", []byte(head+"spec: {template: {spec: {containers: []}}}\n"), Options{})
		said := strings.Contains(strings.Join(out.Notes, ""), "left alone: seems to make pods")
		if changed := strings.Contains(string(out.Text), "sluice.dev/inject"); err != nil || changed != ours || said == ours {
			t.Errorf("%s: %v %q\n%s", head, err, out.Notes, out.Text)
		}
	}
}

func TestOptionsThatNoClusterTakesAreRefused(t *testing.T) {
	t.Parallel()
	o := Options{Sidecar: &Sidecar{Image: "a b", ConfigMap: "A_b"}}
	const want = `image "a b": has a space; name one image
ConfigMap "A_b": not a name; use at most 253 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit`
	if err := o.Check(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := (Options{Sidecar: &Sidecar{}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotCapturedIsSaid(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
	const ofNode = "f:1: Pod/web: left alone: hostNetwork is true, and what the node itself sends is not captured"
	for text, want := range map[string]string{
		head + "spec: {hostNetwork: yes}\n":                                                           ofNode,
		head + "spec: {hostNetwork: TRUE}\n":                                                          ofNode,
		head + "spec: {hostPID: &host True, hostNetwork: *host}\n":                                    ofNode,
		head + "spec: {<<: {hostNetwork: on}}\n":                                                      ofNode,
		head + "spec: {hostNetwork: true}\n":                                                          "f:1: Pod/web: left alone: hostNetwork is true, and what the node itself sends is not captured",
		head + "spec: {containers: [{name: istio-proxy}]}\n":                                          "f:1: Pod/web: will not be captured: Istio's sidecar serves it",
		"{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {sluice.dev/inject: 'false'}}}": "f:1: Pod/a: left alone: annotation sluice.dev/inject is false",
		"{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {sluice.dev/inject: 'false'}}}":      "f:1: Pod/a: left alone: label sluice.dev/inject is false",
		"{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {sluice.dev/exemptUIDs: '7'}}}": `f:1: Pod/a: will not start where an agent serves the node: annotation sluice.dev/exemptUIDs: exemptUIDs "7": an agent serves the pods (agentSocket), and is known by its cgroup or a mark that nobody else knows; remove it`,
	} {
		out, err := Inject("f", []byte(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(out.Notes, "\n"); got != want {
			t.Errorf("%s\nsays\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestASidecarIsToldLabelsAsKubernetesReadsThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: &n web}, spec: {selector: {matchLabels: &l {app: *n}}, template: {metadata: {labels: *l}, spec: {}}}}",
		"{apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: web}, spec: {template: {metadata: {labels: {<<: {app: web}}}, spec: {}}}}]}",
	} {
		out, err := Inject("f", []byte(text), Options{Sidecar: sidecar()})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"--labels=app=web", "--workload=web"} {
			if !strings.Contains(string(out.Text), want) {
				t.Errorf("%s\ngives\n%s\nwithout %s", text, out.Text, want)
			}
		}
	}
}

// A machine behind the pod asks at an address of the pod's, not at loopback.
func TestASidecarAnswersReroutedQueriesWhereTheyArrive(t *testing.T) {
	t.Parallel()
	const text = "{apiVersion: v1, kind: Pod, metadata: {name: vm}, spec: {}}"
	for interfaces, want := range map[string]string{"": "--dns-listen=15053", "vm0": "--dns-listen=*:15053"} {
		fields := map[string]string{"dnsCapture": "true", "includeIPRanges": "10.0.0.0/8"}
		if interfaces != "" {
			fields["rerouteInterfaces"] = interfaces
		}
		out, err := Inject("f", []byte(text), Options{Sidecar: sidecar(), Fields: fields})
		if err != nil || !strings.Contains(string(out.Text), want) {
			t.Errorf("%q: %v\n%s", interfaces, err, out.Text)
		}
	}
}

func TestWhatIsNotNamedAnewStaysOfASidecar(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"job.in.yaml", "object.in.json"} {
		other := sidecar()
		other.MetricsPort = 15099
		first, err := Inject(in, read(t, in), Options{Sidecar: other})
		if err != nil {
			t.Fatal(err)
		}
		second, err := Inject(in, first.Text, Options{Sidecar: &Sidecar{DefaultMetricsPort: 15090}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(first.Text), string(second.Text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}
