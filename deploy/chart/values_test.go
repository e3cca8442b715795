package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// effects has for each value of values.yaml another one, and what the render has then and
// had not before. A value that does nothing is a lie, and one without a row here fails.
var effects = map[string]struct{ other, says string }{
	"platform":                                   {`"gke"`, "/home/kubernetes/bin"},
	"image.repository":                           {`"mirror.test/sluice"`, "image: mirror.test/sluice:devel"},
	"image.tag":                                  {`"9.9"`, "image: sluice:9.9"},
	"image.digest":                               {`"sha256:` + strings.Repeat("0", 64) + `"`, "image: sluice@sha256:0000"},
	"image.pullPolicy":                           {`"Never"`, "imagePullPolicy: Never"},
	"imagePullSecrets":                           {`[{"name":"registry"}]`, "- name: registry"},
	"clusterDomain":                              {`"corp.test"`, "--cluster-domain=corp.test"},
	"policy.selection":                           {`"all"`, "selection: all"},
	"policy.exemptNamespaces":                    {`["monitoring"]`, "- monitoring"},
	"policy.defaults.includeIPRanges":            {`"auto"`, "includeIPRanges: auto"},
	"exemptSystemNamespaces":                     {`false`, "exemptNamespaces: [sluice-system]"},
	"cni.confDir":                                {`"/etc/other/net.d"`, "hostPath: {path: /etc/other/net.d, type"},
	"cni.binDir":                                 {`"/usr/libexec/cni"`, "hostPath: {path: /usr/libexec/cni, type"},
	"cni.mode":                                   {`"append"`, "--mode=append"},
	"cni.copyBinary":                             {`false`, "--binary=off"},
	"runtime.socket":                             {`"/run/other/runtime.sock"`, "hostPath: {path: /run/other, type: Directory}"},
	"iptables":                                   {`true`, "SYS_CHROOT, NET_RAW"},
	"agent.outboundPolicy":                       {`"ALLOW_ANY"`, "--outbound-policy=ALLOW_ANY"},
	"agent.drainSeconds":                         {`60`, "terminationGracePeriodSeconds: 90"},
	"agent.maxConnections":                       {`77`, "--max-connections=77"},
	"agent.accessLog":                            {`false`, "--access-log=off"},
	"agent.accessLogFormat":                      {`"text"`, "--access-log-format=text"},
	"agent.extraArgs":                            {`["--ranges-file=/other"]`, "- --ranges-file=/other"},
	"agent.env":                                  {`[{"name":"GOMEMLIMIT","value":"1GiB"}]`, "name: GOMEMLIMIT"},
	"agent.podAnnotations":                       {`{"team.test/of":"agent"}`, "team.test/of: agent"},
	"agent.podLabels":                            {`{"team.test/of":"agent"}`, "team.test/of: agent"},
	"agent.resources.requests.cpu":               {`"777m"`, "cpu: 777m"},
	"agent.resources.requests.memory":            {`"777Mi"`, "memory: 777Mi"},
	"holder.image.tag":                           {`"8.8"`, "image: sluice:8.8"},
	"holder.image.digest":                        {`"sha256:` + strings.Repeat("1", 64) + `"`, "image: sluice@sha256:1111"},
	"holder.waitSeconds":                         {`27`, "--wait-limit=27s"},
	"coordinator.tolerations":                    {`[{"key":"pool","operator":"Exists"}]`, "key: pool"},
	"holder.podAnnotations":                      {`{"team.test/of":"holder"}`, "team.test/of: holder"},
	"holder.podLabels":                           {`{"team.test/of":"holder"}`, "team.test/of: holder"},
	"holder.resources.requests.cpu":              {`"778m"`, "cpu: 778m"},
	"holder.resources.requests.memory":           {`"778Mi"`, "memory: 778Mi"},
	"installer.resources.requests.cpu":           {`"779m"`, "cpu: 779m"},
	"installer.resources.requests.memory":        {`"779Mi"`, "memory: 779Mi"},
	"nodes.selector":                             {`{"pool":"apps"}`, "pool: apps"},
	"nodes.tolerations":                          {`[{"key":"only","operator":"Exists"}]`, "key: only"},
	"nodes.affinity":                             {`{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":77,"preference":{}}]}}`, "weight: 77"},
	"rollout.maxSurge":                           {`"10%"`, "rollingUpdate: {maxSurge: 10%, maxUnavailable: 0}"},
	"priorityClassName":                          {`"other-class"`, "priorityClassName: other-class"},
	"criticalPodsQuota":                          {`true`, "kind: ResourceQuota"},
	"security.seLinuxType":                       {`"spc_t"`, "seLinuxOptions: {type: spc_t}"},
	"security.appArmor":                          {`"RuntimeDefault"`, "appArmorProfile: {type: RuntimeDefault}"},
	"credentials.namespaces":                     {`["shop"]`, "name: sluice-agent-credentials\n  namespace: shop"},
	"credentials.everywhere":                     {`true`, "resources: [secrets]"},
	"hostCABundle":                               {`"/etc/pki/tls/certs"`, "hostPath: {path: /etc/pki/tls/certs, type: Directory}"},
	"metrics.listen":                             {`"loopback"`, "--metrics-listen=127.0.0.1:15090"},
	"metrics.port":                               {`9100`, "--metrics-listen=$(HOST_IP):9100"},
	"metrics.annotations":                        {`false`, ""},
	"metrics.podMonitor.enabled":                 {`true`, "kind: PodMonitor"},
	"metrics.podMonitor.interval":                {`"77s"`, "interval: 77s"},
	"metrics.podMonitor.labels":                  {`{"release":"prometheus"}`, "release: prometheus"},
	"metrics.dashboard.enabled":                  {`true`, "name: sluice-dashboard"},
	"metrics.dashboard.labels.grafana_dashboard": {`"yes"`, `grafana_dashboard: "yes"`},
	"admission.enabled":                          {`false`, ""},
	"admission.deny":                             {`false`, ""},
	"readinessTaint":                             {`true`, "- --readiness-taint"},
	"uninstall.enabled":                          {`false`, ""},
	"uninstall.timeoutSeconds":                   {`1777`, "--wait=1777s"},
}

// needs are values that others have no effect without.
var needs = map[string]string{
	"metrics.podMonitor.interval":                "metrics.podMonitor.enabled=true",
	"metrics.podMonitor.labels":                  "metrics.podMonitor.enabled=true",
	"metrics.dashboard.labels.grafana_dashboard": "metrics.dashboard.enabled=true",
}

// with is a value and what it needs.
func with(path, other string) []string {
	values := []string{path + "=" + other}
	if n := needs[path]; n != "" {
		return append([]string{n}, values...)
	}
	return values
}

// gone is what the render has no more, of values that take something away.
var gone = map[string]string{
	"metrics.annotations": "prometheus.io/scrape",
	"admission.enabled":   "kind: ValidatingAdmissionPolicy",
	"admission.deny":      "validationActions: [Deny]",
	"uninstall.enabled":   "helm.sh/hook: pre-delete",
}

func TestEachValueHasAnEffect(t *testing.T) {
	t.Parallel()
	known := leaves(t)
	for path := range effects {
		if _, there := known[path]; !there {
			t.Errorf("%s: is no value of the chart any more; take out its row", path)
		}
	}
	plain := render(t)
	for _, path := range slices.Sorted(maps.Keys(known)) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			e, there := effects[path]
			if !there {
				t.Fatal("has no row in effects: say what it changes")
			}
			before, values := plain, with(path, e.other)
			if len(values) > 1 {
				before = render(t, values[0])
			}
			after := render(t, values...)
			if e.says != "" && (strings.Contains(before, e.says) || !strings.Contains(after, e.says)) {
				t.Errorf("%s does not bring %q", values, e.says)
			}
			if g := gone[path]; g != "" && (!strings.Contains(before, g) || strings.Contains(after, g)) {
				t.Errorf("%s does not take away %q", values, g)
			}
			if e.says == "" && gone[path] == "" {
				t.Error("its row says nothing of its effect")
			}
		})
	}
}

// Whoever names a namespace more to be exempt takes none away: with selection all the
// cluster's DNS would be captured.
func TestExemptNamespacesAddUp(t *testing.T) {
	t.Parallel()
	text := render(t, `policy.exemptNamespaces=["monitoring"]`, `policy.selection="all"`)
	for _, part := range []string{"exemptNamespaces: [sluice-system, kube-system, kube-public, kube-node-lease]", "- monitoring"} {
		if !strings.Contains(text, part) {
			t.Errorf("the policy does not have %q", part)
		}
	}
}

// leaves are the paths of values.yaml that hold no further values.
func leaves(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile("sluice/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		object, is := v.(map[string]any)
		if !is || len(object) == 0 {
			out[path] = v
			return
		}
		for name, below := range object {
			walk(strings.TrimPrefix(path+"."+name, "."), below)
		}
	}
	walk("", values)
	return out
}

// What is misspelled, of another type or out of range is refused before anything is
// installed, and the text names it.
func TestTheSchemaRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ value, names string }{
		{`plattform="gke"`, "plattform"},
		{`platform="windows"`, "/platform"},
		{`agent.drainSecond=1`, "drainSecond"},
		{`agent.drainSeconds=0`, "/agent/drainSeconds"},
		{`agent.drainSeconds="10m"`, "/agent/drainSeconds"},
		{`agent.outboundPolicy="Observed"`, "/agent/outboundPolicy"},
		{`agent.extraArgs=["x"]`, "/agent/extraArgs/0"},
		{`agent.podLabels={"a":1}`, "/agent/podLabels/a"},
		{`agent.resources={"request":{}}`, "request"},
		{`agent.resources.requests.cpu="100 m"`, "/agent/resources/requests/cpu"},
		{`agent.resources.limits={"memory":""}`, "/agent/resources/limits/memory"},
		{`agent.env=[{"name":"A","value":1}]`, "/agent/env/0/value"},
		{`nodes.tolerations=[{"effects":"NoSchedule"}]`, "/nodes/tolerations/0"},
		{`coordinator.tolerations=[{"operator":"exists"}]`, "/coordinator/tolerations/0/operator"},
		{`holder.waitSeconds=19`, "/holder/waitSeconds"},
		{`rollout.maxSurge=0`, "/rollout/maxSurge"},
		{`rollout.maxSurge="0%"`, "/rollout/maxSurge"},
		{`image.tag="a b"`, "/image/tag"},
		{`image.tag=1.5`, "/image/tag"},
		{`holder.image.tag=-1`, "/holder/image/tag"},
		{`image.digest="sha256:12"`, "/image/digest"},
		{`image.repository=""`, "/image/repository"},
		{`cni.confDir="etc/cni"`, "/cni/confDir"},
		{`cni.binDir="/opt/cni, type: File"`, "/cni/binDir"},
		{`hostCABundle="/etc/{ssl}"`, "/hostCABundle"},
		{`cni.mode="chained"`, "/cni/mode"},
		{`runtime.socket="run/x.sock"`, "/runtime/socket"},
		{`runtime.socket="/x.sock"`, "/runtime/socket"},
		{`runtime.socket="/run/cri-dockerd.sock"`, "/runtime/socket"},
		{`runtime.socket="/var/run/cri-dockerd.sock"`, "/runtime/socket"},
		{`policy.selection="some"`, "/policy/selection"},
		{`policy.exemptNamespaces=["A_B"]`, "/policy/exemptNamespaces/0"},
		{`policy.includeIPRanges="*"`, "includeIPRanges"},
		{`policy.defaults.includeIPRanges=null`, "includeIPRanges"},
		{`policy.defaults.includeIPRange="*"`, "'includeIPRange' not allowed"},
		{`policy.defaults.exemptUIDs="1337"`, "'exemptUIDs' not allowed"},
		{`policy.defaults.nonTCP="drop"`, "/policy/defaults/nonTCP"},
		{`policy.enforce=["injected"]`, "/policy/enforce/0"},
		{`policy.enforce=["inject"]`, "policy.selection is annotated"},
		{`policy.namespaces={"shop":{"selects":true}}`, "selects"},
		{`policy.namespaces={"shop":{"defaults":{"nonTcp":"allow"}}}`, "'nonTcp' not allowed"},
		{`metrics.port=70000`, "/metrics/port"},
		{`metrics.listen="all"`, "/metrics/listen"},
		{`metrics.podMonitor.interval="often"`, "/metrics/podMonitor/interval"},
		{`metrics={"listen":"loopback","podMonitor":{"enabled":true}}`, "metrics.listen is loopback"},
		{`credentials.namespaces="shop"`, "/credentials/namespaces"},
		{`security.appArmor="Localhost"`, "/security/appArmor"},
		{`uninstall.timeoutSeconds=1`, "/uninstall/timeoutSeconds"},
		{`iptables="yes"`, "/iptables"},
	} {
		t.Run(c.value, func(t *testing.T) {
			t.Parallel()
			if _, err := tryRender(t, c.value); err == nil || !strings.Contains(err.Error(), c.names) {
				t.Errorf("it says %v, and not %q", err, c.names)
			}
		})
	}
}

// A tag of digits alone, as some hashes of commits are, is a number to helm, of another kind
// by each way that it comes.
func TestATagOfDigitsIsText(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte("image: {tag: 8473625}\nholder: {image: {tag: 0}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--set", "image.tag=8473625,holder.image.tag=0"},
		{"--set-json", "image.tag=8473625", "--set-json", "holder.image.tag=0"},
		{"--values", file},
	} {
		out, err := run(t, append([]string{"template", "sluice", "sluice", "--kube-version", kube}, args...)...)
		if err != nil {
			t.Error(err)
			continue
		}
		images := regexp.MustCompile(`(?m)image: (sluice.*)$`).FindAllStringSubmatch(out, -1)
		of := map[string]bool{}
		for _, m := range images {
			of[m[1]] = true
		}
		if !maps.Equal(of, map[string]bool{"sluice:8473625": true, "sluice:0": true}) {
			t.Errorf("helm template %q has the images %v", args, of)
		}
	}
}

// Whoever writes null takes a value away. What the chart cannot be without is refused by
// name; anything else is as if it were empty.
func TestNullIsEmptyOrRefused(t *testing.T) {
	t.Parallel()
	users := regexp.MustCompile(`^(agent|holder|installer)\.resources\.|^nodes\.tolerations$|\.labels\.`) // their own words
	var harmless, refused []string
	objects := map[string]bool{}
	for path, value := range leaves(t) {
		if object, _, below := strings.Cut(path, "."); below {
			objects[object] = true
		}
		switch {
		case empty(value):
			harmless = append(harmless, path+"=null")
		case !users.MatchString(path):
			refused = append(refused, path)
		}
	}
	without := strings.Replace(render(t), "    exemptNamespaces: []\n", "", 1) // which says nothing
	if text := render(t, harmless...); text != without {
		t.Error("null is something else than the empty value that is the default")
	}
	for _, paths := range [][]string{refused, slices.Collect(maps.Keys(objects))} {
		var values []string
		for _, path := range paths {
			values = append(values, path+"=null")
		}
		_, err := tryRender(t, values...)
		if err == nil {
			t.Fatalf("renders without %q", paths)
		}
		for _, path := range paths {
			of, name := "", path
			if at := strings.LastIndex(path, "."); at >= 0 {
				of, name = "/"+strings.ReplaceAll(path[:at], ".", "/"), path[at+1:]
			}
			if at := fmt.Sprintf(`at '%s': missing propert(y|ies) .*'%s'`, of, name); !regexp.MustCompile(at).MatchString(err.Error()) {
				t.Errorf("it does not say that %s is missing: %v", path, err)
			}
		}
	}
}

// empty says whether a template takes a value for none.
func empty(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

// The policy's fields are those of the program, but for what no agent takes.
func TestTheSchemaKnowsEveryField(t *testing.T) {
	t.Parallel()
	schema := schema(t)["$defs"].(map[string]any)
	known := schema["fields"].(map[string]any)["properties"].(map[string]any)
	enforced := schema["enforce"].(map[string]any)["items"].(map[string]any)["enum"].([]any)
	for _, f := range rules.Fields() {
		value, err := json.Marshal(f.Example)
		if err != nil {
			t.Fatal(err)
		}
		p := selection.Policy{Defaults: map[string]json.RawMessage{f.Name: value}, Enforce: []string{f.Name}}
		if _, is := known[f.Name]; is != (p.Validate() == nil) {
			t.Errorf("%s: the schema knows it: %v; the agent: %v", f.Name, is, p.Validate())
		}
		delete(known, f.Name)
		if !slices.Contains(enforced, any(f.Name)) {
			t.Errorf("%s cannot be enforced", f.Name)
		}
	}
	for name := range known {
		t.Errorf("%s is no field", name)
	}
	for _, name := range enforced {
		if p := (selection.Policy{Selection: selection.All, Enforce: []string{name.(string)}}); p.Validate() != nil {
			t.Error(p.Validate())
		}
	}
}

func schema(t *testing.T) (out map[string]any) {
	t.Helper()
	data, err := os.ReadFile("sluice/values.schema.json")
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Each object of the schema is closed, so that a value the schema does not know is an
// error, but for those that are the user's own words.
func TestTheSchemaIsClosed(t *testing.T) {
	t.Parallel()
	var walk func(path string, v any)
	walk = func(path string, v any) {
		object, is := v.(map[string]any)
		if !is {
			return
		}
		properties, _ := object["properties"].(map[string]any)
		if _, closed := object["additionalProperties"]; properties != nil && !closed {
			t.Errorf("%s: takes whatever is written there", path)
		}
		for name, below := range properties {
			walk(path+"."+name, below)
		}
	}
	walk("", schema(t))
	for name, def := range schema(t)["$defs"].(map[string]any) {
		walk(name, def)
	}
}

// docs/chart.md has each value, and none that there is not.
func TestTheDocumentHasEveryValue(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/chart.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(data), "<!-- values -->")
	table, _, _ = strings.Cut(table, "<!-- end of values -->")
	var documented []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			documented = append(documented, strings.Trim(strings.TrimSpace(name), "`"))
		}
	}
	slices.Sort(documented)
	if known := slices.Sorted(maps.Keys(leaves(t))); !slices.Equal(documented, known) {
		t.Errorf("docs/chart.md has\n%q, and the chart has\n%q", documented, known)
	}
}
