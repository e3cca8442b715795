package commands_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/e2e/cluster/chart"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/quick"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/built"
	"github.com/sluice-cni/sluice/internal/egresspage"
)

// person types commands.
type person struct {
	t          *testing.T
	server     *apiserver.Server
	bin        string // has sluice, and kubectl's plugin
	kubeconfig string
}

func newPerson(t *testing.T, s *apiserver.Server) person {
	t.Helper()
	root, err := built.Root()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := built.Go(root, bin+"/", "./cmd/sluice"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sluice", filepath.Join(bin, "kubectl-sluice")); err != nil {
		t.Fatal(err)
	}
	return person{t, s, bin, s.Kubeconfig()}
}

// runs types a command line, with stdin, and gives all that it prints.
func (p person) runs(stdin, line string) (string, error) {
	words := strings.Fields(line)
	name := filepath.Join(p.bin, words[0])
	if words[0] == "kubectl" {
		name = filepath.Join(programs.Kubernetes(), "kubectl")
	}
	cmd := exec.Command(name, words[1:]...)
	cmd.Env = []string{"PATH=" + p.bin, "KUBECONFIG=" + p.kubeconfig, "HOME=" + p.bin}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// says types a command line that must succeed, or not, and say something.
func (p person) says(well bool, stdin, line string, want ...string) string {
	p.t.Helper()
	out, err := p.runs(stdin, line)
	if (err == nil) != well {
		p.t.Errorf("%s: %v\n%s", line, err, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			p.t.Errorf("%s: it does not say %q:\n%s", line, text, out)
		}
	}
	return out
}

func TestCommandsWithARealAPIServer(t *testing.T) {
	s := quick.New(t)
	p := newPerson(t, s)
	p.says(false, "", "kubectl sluice get", "has no serviceentries.networking.istio.io", "hint: sluice's Helm chart brings the definitions")
	definitions, err := chart.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(string(definitions))
	await.True(t, "the definitions", func() bool { _, err := p.runs("", "sluice get"); return err == nil })

	for name, test := range map[string]func(*testing.T, person){
		"takes the page to the letter":              page,
		"leaves nothing that is named no more":      replaced,
		"leaves alone what holds an object":         held,
		"tells what somebody else wrote":            others,
		"says before what is refused, and by whom":  refused,
		"hands on what admission policies warn of":  warned,
		"keeps to the rights of who types":          rights,
		"writes nothing in a dry run":               dryRun,
		"explains a namespace that is not there":    nowhere,
		"lists and deletes as kubectl's plugin too": plugin,
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			p.t = t
			test(t, p)
		})
	}
}

// namespace makes one.
func (p person) namespace(name string) {
	p.t.Helper()
	p.says(true, "", "kubectl create namespace "+name)
}

func page(t *testing.T, p person) {
	for _, text := range []string{egresspage.HTTPBin, egresspage.Google, egresspage.Timeout} {
		p.says(true, text, "sluice create -f -", " created\n")
	}
	got := p.says(true, "", "kubectl get se,vs,dr -o json")
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(got), &list); err != nil {
		t.Fatal(err)
	}
	var specs strings.Builder
	for _, i := range list.Items {
		fmt.Fprintf(&specs, "%s %s %s\n", i.Kind, i.Metadata.Name, i.Spec)
	}
	spaces := strings.NewReplacer(" ", "", "\n", "")
	for _, want := range []string{
		`ServiceEntry google-ext {"hosts":["www.google.com"],"ports":[{"name":"https","number":443,"protocol":"HTTP"}],"resolution":"NONE"}`,
		`ServiceEntry httpbin-ext {"hosts":["httpbin.org"],"ports":[{"name":"http","number":80,"protocol":"HTTP"}],"resolution":"NONE"}`,
		`VirtualService httpbin-ext {"hosts":["httpbin.org"],"http":[{"timeout":"3s"}]}`,
		`DestinationRule google-ext {"host":"www.google.com","trafficPolicy":{"tls":{"mode":"SIMPLE"}}}`,
	} {
		if !strings.Contains(spaces.Replace(specs.String()), spaces.Replace(want)) {
			t.Errorf("the cluster has no %s, but\n%s", want, specs.String())
		}
	}
	out := p.says(false, egresspage.Google, "sluice create -f -", "error: ServiceEntry default/google-ext: is there already\nerror: DestinationRule default/google-ext: is there already", "sluice apply' replaces")
	if strings.Contains(out, " created\n") {
		t.Errorf("created twice:\n%s", out)
	}
	p.says(true, egresspage.Google, "sluice apply -f -", "ServiceEntry default/google-ext unchanged", "DestinationRule default/google-ext unchanged", "spec.host for spec.name")
	// The page's last commands.
	p.says(true, "", "sluice delete ServiceEntry httpbin-ext google-ext", "ServiceEntry default/httpbin-ext deleted\nServiceEntry default/google-ext deleted\n")
	p.says(true, "", "sluice delete destinationrule google-ext", " deleted\n")
	p.says(true, "", "sluice delete virtualservice httpbin-ext", " deleted\n")
	p.says(true, "", "kubectl get se,vs,dr", "No resources found")
}

const (
	slow = `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: rule},
spec: {host: a.example.com, trafficPolicy: {tls: {mode: SIMPLE}, connectionPool: {tcp: {connectTimeout: 250ms}}}}}`
	plain = `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: rule},
spec: {host: a.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}}`
)

func replaced(t *testing.T, p person) {
	p.namespace("replaced")
	for _, write := range []string{"kubectl create", "kubectl apply", "sluice create", "sluice apply"} {
		p.says(true, slow, write+" -n replaced -f -")
		p.says(true, plain, "sluice apply -n replaced --dry-run=server -f -", "DestinationRule replaced/rule configured (server dry run)")
		p.says(true, plain, "sluice apply -n replaced --dry-run=client -f -", "DestinationRule replaced/rule configured (dry run)")
		p.says(true, plain, "sluice apply -n replaced -f -", "DestinationRule replaced/rule configured\n")
		p.says(true, plain, "sluice apply -n replaced -f -", "DestinationRule replaced/rule unchanged\n")
		if got := p.says(true, "", "kubectl get dr rule -n replaced -o yaml", "mode: SIMPLE"); strings.Contains(got, "connectTimeout:") { // kubectl's copy has it in quotes
			t.Errorf("after %s the connection pool stayed:\n%s", write, got)
		}
		p.says(true, "", "sluice delete -n replaced dr rule")
	}
}

// A finalizer that is named is written, one that kubectl wrote stays, and so does kubectl's
// copy of the object, by which its next apply takes out what is named no more.
func held(t *testing.T, p person) {
	p.namespace("held")
	finalizers := strings.NewReplacer("{name: rule}", "{name: rule, finalizers: [example.com/held]}")
	p.says(true, finalizers.Replace(plain), "kubectl apply -n held -f -")
	p.says(true, finalizers.Replace(plain), "sluice apply -n held -f -", "DestinationRule held/rule unchanged\n")
	p.says(true, plain, "sluice apply -n held -f -")
	p.says(true, "", "kubectl get dr rule -n held -o yaml", "example.com/held", "last-applied-configuration")
	p.says(true, plain, "kubectl apply -n held -f -", "configured")
	if got := p.says(true, "", "kubectl get dr rule -n held -o yaml"); strings.Contains(got, "- example.com/held") {
		t.Errorf("kubectl's next apply took nothing out:\n%s", got)
	}
}

func others(t *testing.T, p person) {
	p.namespace("others")
	p.says(true, slow, "kubectl apply --server-side -n others -f -")
	p.says(true, plain, "sluice apply -n others -f -", "warning: DestinationRule others/rule: spec: has more in the cluster than here")
}

func refused(t *testing.T, p person) {
	p.namespace("refused")
	const good = "---\n" + `{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: good}, spec: {hosts: [good.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}}` + "\n"
	bySluice := strings.ReplaceAll(strings.ReplaceAll(good, "[good.example.com]", "['good.example.com:80']"), "name: good", "name: bad")
	p.says(false, bySluice+good, "sluice create -n refused -f -", "error: nothing was written, for 1 error")
	p.says(true, "", "kubectl get se -n refused", "No resources found")
	// The API server's own word, of an object that sluice takes; the other one is written.
	byServer := strings.ReplaceAll(strings.ReplaceAll(good, "{name: good}", "{name: bad, labels: {app: a, 'no/label/this': x}}"), "good.example", "bad.example")
	p.says(false, byServer+good, "sluice create -n refused -f -", "error: ServiceEntry refused/bad: ", "ServiceEntry refused/good created")
}

const policy = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: ACTION}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [networking.istio.io], apiVersions: ['*'], operations: [CREATE, UPDATE], resources: [serviceentries]}]}
  matchConditions: [{name: here, expression: "object.metadata.namespace == 'warned'"}]
  validations: [{expression: "object.spec.hosts.all(h, !h.startsWith('ACTION.'))", message: "such hosts are not liked"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: ACTION}
spec: {policyName: ACTION, validationActions: [ACTION_]}
`

func warned(t *testing.T, p person) {
	p.namespace("warned")
	for _, action := range []string{"warn", "deny"} {
		p.server.Apply(strings.ReplaceAll(strings.ReplaceAll(policy, "ACTION_", strings.ToUpper(action[:1])+action[1:]), "ACTION", action))
	}
	entry := func(host string) string {
		return `{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: ` + host + `}, spec: {hosts: [` + host + `.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}}`
	}
	// Policies are in force some time after they are written.
	await.True(t, "the policies in force", func() bool {
		_, err := p.runs(entry("deny"), "sluice apply -n warned --dry-run -f -")
		out, other := p.runs(entry("warn"), "sluice apply -n warned --dry-run -f -")
		return err != nil && other == nil && strings.Contains(out, "warning")
	})
	p.says(true, entry("warn"), "sluice create -n warned -f -", "warning: ServiceEntry warned/warn: ", "such hosts are not liked", "ServiceEntry warned/warn created")
	out := p.says(false, entry("deny"), "sluice create -n warned -f -", "error: ServiceEntry warned/deny: ", "such hosts are not liked")
	if strings.Contains(out, "needs a rule with apiGroups") {
		t.Errorf("a policy's refusal is taken for a missing right:\n%s", out)
	}
}

func rights(t *testing.T, p person) {
	p.namespace("rights")
	p.says(true, "", "kubectl create serviceaccount dev -n rights")
	p.says(true, "", "kubectl create role dev -n rights --verb=* --resource=serviceentries.networking.istio.io")
	p.says(true, "", "kubectl create rolebinding dev -n rights --role=dev --serviceaccount=rights:dev")
	token := strings.TrimSpace(p.says(true, "", "kubectl create token dev -n rights"))
	data, err := os.ReadFile(p.kubeconfig)
	var config map[string]any
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	config["users"].([]any)[0].(map[string]any)["user"] = map[string]any{"token": token}
	config["contexts"].([]any)[0].(map[string]any)["context"].(map[string]any)["namespace"] = "rights"
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	p.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(p.kubeconfig, data, 0o600); err != nil {
		t.Fatal(err)
	}
	const entry = `{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: mine}, spec: {hosts: [mine.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}}`
	p.says(true, entry, "sluice apply -f -", "notice: not judged beside all that the cluster has", "ServiceEntry rights/mine created")
	p.says(false, entry, "sluice apply -n default -f -", "error: ServiceEntry default/mine: may not be read or written", `a Role in namespace "default" needs a rule with apiGroups ["networking.istio.io"], resources ["serviceentries"], verbs ["patch"]`)
	p.says(false, "", "sluice get", "rights      mine   [mine.example.com]", `resources ["sidecars"], verbs ["list"]`)
	p.says(true, "", "sluice get se mine -o name", "serviceentry.rights/mine\n")
	p.says(false, "", "sluice delete dr mine", `resources ["destinationrules"], verbs ["delete"]`)
	p.says(true, "", "sluice delete se mine", "ServiceEntry rights/mine deleted")
}

func dryRun(t *testing.T, p person) {
	p.namespace("dry")
	for _, how := range []string{"server", "client"} {
		p.says(true, plain, "sluice create -n dry --dry-run="+how+" -f -", "DestinationRule dry/rule created (")
		p.says(true, "", "kubectl get dr -n dry", "No resources found")
	}
	p.says(true, plain, "sluice create -n dry -f -")
	for _, how := range []string{"server", "client"} {
		p.says(true, "", "sluice delete -n dry --dry-run="+how+" dr rule", "DestinationRule dry/rule deleted (")
		p.says(true, "", "kubectl get dr rule -n dry", "rule")
	}
}

func nowhere(t *testing.T, p person) {
	for _, command := range []string{"create", "apply"} {
		p.says(false, plain, "sluice "+command+" -n nowhere -f -", `error: DestinationRule nowhere/rule: there is no namespace "nowhere"; 'kubectl create namespace nowhere' makes it`)
	}
	p.says(false, "", "sluice delete -n nowhere dr rule", "error: DestinationRule nowhere/rule: not found")
}

func plugin(t *testing.T, p person) {
	p.namespace("plugin")
	p.says(true, plain, "kubectl sluice apply -n plugin -f -", "DestinationRule plugin/rule created")
	p.says(true, "", "kubectl sluice get dr -n plugin", "DestinationRule   plugin      rule   a.example.com   tls SIMPLE")
	if got := p.says(true, "", "kubectl sluice get dr -A -o name", "destinationrule.plugin/rule\n"); strings.Contains(got, "error") {
		t.Error(got)
	}
	p.says(false, "", "kubectl sluice get dr nothing -n plugin", "hint: 'kubectl sluice get destinationrule -n plugin' lists what there is")
	p.says(true, "", "kubectl sluice delete destinationrule.plugin/rule", "DestinationRule plugin/rule deleted")
}
