package chart_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/e2e/cluster/chart"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/quick"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// A real API server takes what is rendered, as `kubectl apply` sends it, and does with
// admission policies and roles what they are for.
func TestARealAPIServer(t *testing.T) {
	t.Parallel()
	s := quick.New(t)
	dir := filepath.Join(t.TempDir(), "sluice")
	if err := chart.Write(dir); err != nil {
		t.Fatal(err)
	}
	program, err := helm()
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := s.Run("", program, append(args, "--namespace", "sluice-system")...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s.Apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	s.Apply(older)

	notes, err := s.Run("", program, "install", "sluice", dir, "--namespace", "default", "--dry-run=client")
	if err != nil || !strings.Contains(notes, "No pod of namespace default is ever captured") {
		t.Errorf("the notes do not say that sluice's own namespace is exempt: %v", err)
	}
	said := run("install", "sluice", dir, "--create-namespace", "--set-json", `credentials.namespaces=["shop"]`)
	if !strings.Contains(said, "kubectl label namespace NAMESPACE sluice.dev/inject=true") || !strings.Contains(said, "helm uninstall sluice --namespace sluice-system --timeout 1200s") || strings.Contains(said, "may read no Secret") {
		t.Errorf("the notes do not say what to do next, or more than that:\n%s", said)
	}
	t.Run("says at once what is refused", func(t *testing.T) { saysWhatIsRefused(t, s) })
	t.Run("says at once what mesh says", func(t *testing.T) { warnsInTheWordsOfMesh(t, s) })
	t.Run("leaves what is older to who changes it", func(t *testing.T) { leavesWhatIsOlder(t, s) })
	t.Run("takes what pages have", func(t *testing.T) { takesWhatPagesHave(t, s) })
	t.Run("takes what sluice inject writes", func(t *testing.T) { takesInjected(t, s) })
	t.Run("takes newer definitions", func(t *testing.T) { takesNewerDefinitions(t, s) })
	t.Run("refuses a second installation", func(t *testing.T) {
		_, err := s.Run("", program, "install", "other", dir, "--namespace", "elsewhere", "--create-namespace", "--take-ownership")
		if err == nil || !strings.Contains(err.Error(), "sluice is installed in namespace sluice-system") {
			t.Error(err)
		}
	})
	t.Run("takes the uninstaller with its stamp", func(t *testing.T) { takesTheStamp(t, s) })
	t.Run("gives the agent its rights and no more", func(t *testing.T) { givesRights(t, s) })
	s.Apply("apiVersion: v1\nkind: Secret\nmetadata: {name: credential, namespace: shop}\n")
	t.Run("lets the agent follow what it follows", func(t *testing.T) { followsWithItsRights(t, s) })
	said = run("upgrade", "sluice", dir, "--set-json", `platform="gke"`, "--set-json", "uninstall.enabled=false", "--set-json", "readinessTaint=true")
	for _, part := range []string{"may read no Secret", "was not run there", "uninstall.enabled is false"} {
		if !strings.Contains(said, part) {
			t.Errorf("after an upgrade the notes do not say %q:\n%s", part, said)
		}
	}
	t.Run("lets an agent change its taint alone", func(t *testing.T) { changesItsTaintAlone(t, s) })
	t.Run("keeps its namespace", func(t *testing.T) { keepsItsNamespace(t, s) })
	run("uninstall", "sluice")
	left, err := s.Kubectl("get", "daemonsets,configmaps,roles,rolebindings,serviceaccounts,clusterroles,clusterrolebindings,validatingadmissionpolicies,resourcequotas", "-A", "-o", "name", "-l", "app.kubernetes.io/name=sluice")
	if err != nil || strings.TrimSpace(left) != "" {
		t.Errorf("helm leaves behind (%v)\n%s", err, left)
	}
	if kinds, err := s.Kubectl("get", "crd", "-o", "name"); err != nil || strings.Count(kinds, "networking.istio.io") != 4 {
		t.Errorf("the definitions did not stay (%v):\n%s", err, kinds)
	}
	t.Run("takes every render", func(t *testing.T) { takesEveryRender(t, s) })
}

// kubectl runs it and gives all that it wrote, warnings too.
func kubectl(s *apiserver.Server, stdin string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(programs.Kubernetes(), "kubectl"), args...)
	cmd.Env = []string{"KUBECONFIG=" + s.Kubeconfig(), "HOME=" + filepath.Dir(s.Kubeconfig()), "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func takesEveryRender(t *testing.T, s *apiserver.Server) {
	knowsOthersKinds(t, s)
	renders := map[string]string{
		"everything": render(t, `credentials={"namespaces":["shop"],"everywhere":true}`, "readinessTaint=true", "iptables=true", `hostCABundle="/etc/ssl/certs"`,
			"metrics.dashboard.enabled=true", "metrics.podMonitor.enabled=true", `policy={"enforce":["excludeIPRanges"],"namespaces":{"shop":{"select":true}}}`, `runtime.socket="off"`),
		"the uninstaller": uninstaller(t, render(t)),
		"kustomize/base":  kustomize(t, "base"),
	}
	for _, platform := range []string{"", "kind", "k3s", "rke2", "gke", "eks", "aks", "openshift"} {
		renders["platform "+platform] = render(t, fmt.Sprintf("platform=%q", platform))
	}
	for _, version := range []string{"1.27.0", "1.29.0"} {
		text, err := renderFor(t, version)
		if err != nil {
			t.Fatal(err)
		}
		renders["Kubernetes "+version] = text
	}
	for name, text := range renders {
		out, err := kubectl(s, text, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
		// This server takes AppArmor's annotations for what they were before its time.
		said := regexp.MustCompile(`(?m)^Warning: .*apparmor.* deprecated.*$`).ReplaceAllString(out, "")
		if err != nil || strings.Contains(said, "Warning") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// takesInjected has what sluice inject's own tests want judged, by the policies too.
func takesInjected(t *testing.T, s *apiserver.Server) {
	paths, err := filepath.Glob("../../inject/testdata/*.out.[yj]*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("nothing is injected anywhere: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		object := without(string(text), "batch.volcano.sh") // of a kind that is not here
		out, err := kubectl(s, object, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
		if err != nil || strings.Contains(out, "Warning") {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}

// hooks are the objects, by their kinds, that helm makes for a hook's program before it runs.
func hooks(t *testing.T, name string) string {
	t.Helper()
	var all []string
	for _, document := range strings.Split(render(t), "\n---\n") {
		if regexp.MustCompile(`(?m)^kind: (ServiceAccount|(Cluster)?Role(Binding)?)$`).MatchString(document) && strings.Contains(document, "\n  name: "+name+"\n") {
			all = append(all, document)
		}
	}
	if len(all) == 0 {
		t.Fatalf("there is no hook %s", name)
	}
	return strings.Join(all, "\n---\n")
}

// takesTheStamp has the program make the DaemonSet, with the rights of its account, where no
// controller will ever say that a node is done: what it adds is refused by no policy.
func takesTheStamp(t *testing.T, s *apiserver.Server) {
	program, err := sluicetest.Build()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "daemonset.yaml")
	if err := os.WriteFile(file, []byte(uninstaller(t, render(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	account := hooks(t, "sluice-uninstall")
	s.Apply(account)
	out, err := exec.Command(program, "uninstall", "cluster", "--daemonset", file, "--agents=sluice-agent,sluice-holder", "--released",
		"--kubeconfig", withToken(t, s, "sluice-uninstall"), "--wait", "1s").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "sluice-uninstall created") || !strings.Contains(string(out), "not every node is done") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := kubectl(s, "", "--namespace", "sluice-system", "delete", "daemonset", "sluice-uninstall", "--wait=false", "--as=system:serviceaccount:sluice-system:sluice-uninstall"); err != nil {
		t.Error(out)
	}
	for _, c := range []struct {
		verb, what string
		may        bool
	}{
		{"get", "daemonsets/sluice-agent", true},
		{"delete", "daemonsets/sluice-holder", true},
		{"list", "pods", true},
		{"list", "events", true},
		{"patch", "daemonsets/sluice-agent", false},
		{"list", "daemonsets", false},
		{"delete", "daemonsets/other", false},
		{"create", "pods", false},
		{"get", "secrets", false},
	} {
		if out, may := mayDo(s, "sluice-uninstall", c.verb, c.what, "sluice-system"); may != c.may {
			t.Errorf("may it %s %s? %s", c.verb, c.what, out)
		}
	}
	if out, err := kubectl(s, account, "delete", "-f", "-"); err != nil {
		t.Error(out)
	}
}

func without(text, line string) string {
	var kept []string
	for _, document := range strings.Split(text, "\n---\n") {
		if !strings.Contains(document, line) {
			kept = append(kept, document)
		}
	}
	return strings.Join(kept, "\n---\n")
}

func saysWhatIsRefused(t *testing.T, s *apiserver.Server) {
	resource := func(kind, spec string) string {
		return "apiVersion: networking.istio.io/v1\nkind: " + kind + "\nmetadata: {name: x, namespace: shop}\nspec: " + spec + "\n"
	}
	pod := func(annotations string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: shop, annotations: {" + annotations + "}}\nspec: {containers: [{name: c, image: i}]}\n"
	}
	labelled := func(inject string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: shop, labels: {sluice.dev/inject: " + inject + "}}\nspec: {containers: [{name: c, image: i}]}\n"
	}
	deployment := func(annotations string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: shop}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}, annotations: {" + annotations + "}}, spec: {containers: [{name: c, image: i}]}}}\n"
	}
	cronJob := func(annotations string) string {
		return "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x, namespace: shop}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {template: {metadata: {annotations: {" + annotations + "}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}\n"
	}
	ns := func(labels, annotations string) string {
		return "apiVersion: v1\nkind: Namespace\nmetadata: {name: other, labels: {" + labels + "}, annotations: {" + annotations + "}}\n"
	}
	exempt := func(name, labels string) string {
		return strings.Replace(ns(labels, ""), "name: other", "name: "+name, 1)
	}
	apply := func(object string) (string, error) {
		return kubectl(s, object, "apply", "--server-side", "--dry-run=server", "-f", "-")
	}
	s.Apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: governed, labels: {sluice.dev/inject: 'true'}}\n")
	const istio = "traffic.sidecar.istio.io/"
	// A policy is in force a moment after it is made, of which nobody tells.
	for _, object := range []string{ns("sluice.dev/inject: 'yes'", ""), pod("sluice.dev/inject: 'yes'"), pod(istio + "excludeOutboundPorts: '70000'"), exempt("kube-system", "sluice.dev/inject: 'true'"), resource("Sidecar", "{egress: [{hosts: ['./*'], captureMode: NONE}]}"),
		resource("ServiceEntry", "{hosts: [a.test], ports: [{number: 80, name: http, protocol: HTTP}], workloadSelector: {labels: {a: b}}}"),
		resource("VirtualService", "{hosts: [a.test], http: [{delegate: {name: other}}]}"), resource("DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}")} {
		await.True(t, "the API server minds\n"+object, func() bool {
			out, err := apply(object)
			return err != nil || strings.Contains(out, "Warning")
		})
	}
	for _, c := range []struct {
		object string
		says   string // "": nothing
		denied bool
	}{
		{resource("ServiceEntry", "{hosts: [a.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}"), "", false},
		{resource("ServiceEntry", "{hosts: [a.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: {a: b}}}"), "workloadSelector", false},
		{resource("ServiceEntry", "{hosts: [a.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 'unix:///run/x'}]}"), "unix://", false},
		{resource("ServiceEntry", "{hosts: [a.test]}"), "spec.ports is empty", false},
		{resource("VirtualService", "{hosts: [a.test], http: [{route: [{destination: {host: a.test}}], fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}}]}"), "", false},
		{resource("VirtualService", "{hosts: [a.test], http: [{delegate: {name: other}}]}"), "delegate", false},
		{resource("VirtualService", "{hosts: [a.test], http: [{route: [{destination: {host: a.test}}], fault: {delay: {exponentialDelay: 1s}}}]}"), "exponentialDelay", false},
		{resource("VirtualService", "{hosts: [a.test], http: [{route: [{destination: {host: a.test}}], fault: {abort: {http2Error: NO_ERROR}}}]}"), "http2Error", false},
		{resource("VirtualService", "{hosts: [a.test], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: a.test}}]}]}"), "sourceSubnet", false},
		{resource("DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: SIMPLE}, portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}, subsets: [{name: s}]}"), "", false},
		{resource("DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"), "ISTIO_MUTUAL", false},
		{resource("DestinationRule", "{host: a.test, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}}"), "ISTIO_MUTUAL", false},
		{resource("DestinationRule", "{host: a.test, subsets: [{name: s, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}]}"), "ISTIO_MUTUAL", false},
		{resource("DestinationRule", "{host: a.test, trafficPolicy: {proxyProtocol: {version: V1}}}"), "proxyProtocol", false},
		{resource("DestinationRule", "{host: a.test, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem}}}"),
			`spec.trafficPolicy.tls.clientCertificate "/c.pem": ` + credential.Authorities()("clientCertificate", "/c.pem").Error(), false},
		{resource("Sidecar", "{egress: [{hosts: ['./*']}]}"), "", false},
		{resource("Sidecar", "{egress: [{hosts: ['./*'], port: {number: 80, name: http, protocol: HTTP}}]}"), "one set of hosts", false},
		{resource("Sidecar", "{egress: [{hosts: ['./*'], bind: 127.0.0.1}]}"), "one set of hosts", false},
		{resource("Sidecar", "{egress: [{hosts: ['./*'], captureMode: NONE}]}"), "captureMode NONE", false},
		{ns("sluice.dev/inject: 'true', sluice.dev/enforce: 'true'", "sluice.dev/outboundPolicy: Observe"), "", false},
		{ns("sluice.dev/inject: 'yes'", ""), "label sluice.dev/inject", true},
		{ns("sluice.dev/enforce: enabled", ""), "label sluice.dev/enforce", true},
		{ns("", "sluice.dev/outboundPolicy: observe"), "annotation sluice.dev/outboundPolicy", true},
		{ns("", "sluice.dev/dnsCapture: 'true', team.test/of: shop"), "", false},
		{ns("sluice.dev/injekt: 'true'", ""), "label sluice.dev/injekt is none that there is", true},
		{ns("", "sluice.dev/outboundPolicy: Observe, sluice.dev/outboundPolcy: Observe"), "annotation sluice.dev/outboundPolcy is none that a namespace can have", true},
		{ns("", "sluice.dev/dnsServers: '10.0.0.300'"), `annotation sluice.dev/dnsServers "10.0.0.300": ranges are written as`, true},
		{ns("", "sluice.dev/dnsServers: '10.0.0.10,fd00::a', sluice.dev/dnsPort: '15053'"), "", false},
		{ns("", "sluice.dev/inject: 'true'"), "are labels there", true},
		{ns("", istio+"includeOutboundIPRanges: '10.0.0.0/32, 2001:db8::/128,::ffff:10.0.0.0/104'"), "", false},
		{ns("", istio+"includeOutboundIPRanges: '*', "+istio+"includeInboundPorts: '*'"), "", false},
		{ns("", istio+"includeOutboundIPRanges: '10.96.0.0/12,10.0.0.0/88'"), "ranges are written as", false},
		{ns("", istio+"excludeOutboundIPRanges: '2001:db8::/129'"), "ranges are written as", false},
		{ns("", istio+"includeOutboundIPRanges: auto, "+istio+"excludeOutboundIPRanges: ''"), "", false},
		{ns("", istio+"excludeOutboundPorts: '22,65536'"), "ports are 1 to 65535", false},
		{exempt("kube-system", "sluice.dev/inject: 'true'"), "label sluice.dev/inject has no effect: namespace kube-system", false},
		{exempt("sluice-system", "sluice.dev/enforce: 'true'"), "label sluice.dev/enforce has no effect: namespace sluice-system", false},
		{exempt("kube-system", "sluice.dev/inject: 'false'"), "", false},
		{labelled("'true'"), "", false},
		{labelled("'yes'"), "label sluice.dev/inject of a pod", true},
		{pod("sluice.dev/inject: 'false', sluice.dev/dnsCapture: 'true', other.test/x: z"), "", false},
		{pod("sluice.dev/inject: 'no'"), "annotation sluice.dev/inject", true},
		{pod("sluice.dev/dnsCapture: 'on'"), "annotation sluice.dev/dnsCapture", true},
		{pod("sluice.dev/nonTCP: drop"), "annotation sluice.dev/nonTCP", true},
		{pod("sluice.dev/failurePolicy: open"), "annotation sluice.dev/failurePolicy", true},
		{pod("sluice.dev/inject: 'true', sluice.dev/injekt: 'true'"), "annotation sluice.dev/injekt is none that there is", true},
		{pod("sluice.dev/outboundPort: '70000'"), `annotation sluice.dev/outboundPort "70000": not a port`, true},
		{pod(istio + "excludeOutboundPorts: '22, 80 - 90,65535,1-65535,'"), "", false},
		{pod(istio + "excludeOutboundPorts: '22-70000'"), "ports are 1 to 65535", false},
		{pod(istio + "excludeOutboundPorts: abc"), `annotation traffic.sidecar.istio.io/excludeOutboundPorts "abc": ports are 1 to 65535`, false},
		{pod(istio + "includeOutboundIPRanges: 10.0.0.0/33"), "ranges are written as", false},
		{pod(istio + "includeInboundPorts: '*'"), "", false},
		{pod(istio + "includeInboundPorts: '*', sluice.dev/inject: 'true'"), "takes nothing that arrives", false},
		{pod(istio + "includeInboundPorts: '*', sluice.dev/inject: 'true', sidecar.istio.io/status: x"), "", false},
		{pod(istio + "includeInboundPorts: '', sluice.dev/inject: 'true'"), "", false},
		{strings.Replace(pod(istio+"includeInboundPorts: '*'"), "shop", "governed", 1), "takes nothing that arrives", false},
		{strings.Replace(pod(istio+"includeInboundPorts: '*', sluice.dev/inject: 'false'"), "shop", "governed", 1), "", false},
		{deployment("sluice.dev/inject: 'true'"), "", false},
		{deployment(istio + "includeInboundPorts: '100000'"), "ports are 1 to 65535", false},
		{deployment("sluice.dev/inject: 'no'"), "annotation sluice.dev/inject", true},
		{cronJob("sluice.dev/inject: 'true'"), "", false},
		{cronJob("sluice.dev/inject: 'no'"), "annotation sluice.dev/inject", true},
		{cronJob(istio + "includeOutboundIPRanges: 10.0.0.0/100"), "ranges are written as", false},
	} {
		out, err := apply(c.object)
		said := strings.Contains(out, "Warning") || err != nil
		if said != (c.says != "") || !strings.Contains(out, c.says) || (err != nil) != c.denied {
			t.Errorf("%s\nit says %q (%v), not %q, denied: %v", c.object, out, err, c.says, c.denied)
		}
	}
}

func givesRights(t *testing.T, s *apiserver.Server) {
	for _, c := range []struct {
		verb, what, in string
		may            bool
	}{
		{"list", "serviceentries.networking.istio.io", "", true},
		{"watch", "virtualservices.networking.istio.io", "", true},
		{"watch", "destinationrules.networking.istio.io", "", true},
		{"watch", "sidecars.networking.istio.io", "", true},
		{"watch", "services", "", true},
		{"watch", "endpointslices.discovery.k8s.io", "", true},
		{"watch", "namespaces", "", true},
		{"watch", "nodes", "", true},
		{"watch", "pods", "", true},
		{"watch", "servicecidrs.networking.k8s.io", "", true},
		{"create", "events", "shop", true},
		{"watch", "configmaps/sluice-policy", "sluice-system", true},
		{"get", "configmaps/cilium-config", "kube-system", true},
		{"get", "secrets/any", "shop", true},

		{"list", "secrets", "shop", false},
		{"watch", "secrets", "shop", false},
		{"get", "secrets/any", "sluice-system", false},
		{"get", "configmaps/other", "sluice-system", false},
		{"get", "configmaps/other", "kube-system", false},
		{"patch", "nodes", "", false},
		{"get", "nodes", "", false},
		{"get", "pods", "", false},
		{"update", "pods", "shop", false},
		{"patch", "serviceentries.networking.istio.io", "shop", false},
		{"delete", "events", "shop", false},
		{"create", "pods", "sluice-system", false},
		{"create", "daemonsets.apps", "sluice-system", false},
		{"create", "serviceaccounts/token", "sluice-system", false},
	} {
		if out, may := mayDo(s, "sluice-agent", c.verb, c.what, c.in); may != c.may {
			t.Errorf("may it %s %s in %q? %s", c.verb, c.what, c.in, out)
		}
	}
	// The holder asks nobody, and nobody else may either.
	if out, may := mayDo(s, "sluice-holder", "list", "pods", ""); may {
		t.Errorf("the holder may list pods: %s", out)
	}
}

// mayDo asks whether an account of ours may do something in a namespace, or in all ("").
func mayDo(s *apiserver.Server, account, verb, what, in string) (said string, may bool) {
	args := []string{"auth", "can-i", verb, what, "--as=system:serviceaccount:sluice-system:" + account}
	if in == "" {
		args = append(args, "--all-namespaces")
	} else {
		args = append(args, "--namespace="+in)
	}
	said, _ = kubectl(s, "", args...)
	last := said[strings.LastIndex(strings.TrimSpace(said), "\n")+1:]
	return said, strings.HasPrefix(last, "yes")
}
