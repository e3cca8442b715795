package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

const shopEntry = `{"metadata":{"namespace":"shop","name":"NAME"},"spec":{"hosts":["NAME.com"],"ports":[{"number":80,"name":"http","protocol":"HTTP"}],"resolution":"DNS"}}`

func entryFile(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		text := `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry",` + strings.ReplaceAll(shopEntry, "NAME", name)[1:]
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What an API server does not allow, does not have or does not answer is said with what to
// do about it.
func TestAClusterThatRefusesIsExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(*apitest.Server)
		args    string
		code    int
		says    []string
		never   string
	}{
		{"a list", func(s *apitest.Server) { s.Refuse(kubeapi.ServiceEntries, 403) }, "get se -A", 1,
			[]string{`a ClusterRole needs a rule with apiGroups ["networking.istio.io"], resources ["serviceentries"], verbs ["list"]`}, ""},
		{"one kind of several", func(s *apitest.Server) {
			s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "a"))
			s.Refuse(kubeapi.Sidecars, 403)
		}, "get -n shop", 1, []string{"shop        a      [a.com]", `resources ["sidecars"]`}, ""},
		{"what is not asked for", func(s *apitest.Server) { s.Refuse(kubeapi.ServiceEntries, 403) }, "get vs -A", 0, []string{"no resources found"}, "error"},
		{"without definitions", func(s *apitest.Server) { s.Serve(kubeapi.ServiceEntries, "") }, "apply -f FILES", 1,
			[]string{"has no serviceentries.networking.istio.io", "hint: sluice's Helm chart brings the definitions"}, "created"},
		{"without one definition", func(s *apitest.Server) {
			s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "a"))
			s.Serve(kubeapi.Sidecars, "")
		}, "get -n shop", 1, []string{"shop        a      [a.com]", "error: API server test has no sidecars.networking.istio.io", "hint: sluice's Helm chart"}, ""},
		{"without another's definition", func(s *apitest.Server) { s.Serve(kubeapi.Sidecars, "") }, "apply -f FILES", 0,
			[]string{"ServiceEntry shop/a created\nServiceEntry shop/b created\n", "notice: API server test has no sidecars.networking.istio.io: install its"}, "error"},
		{"beside a kind without a definition", func(s *apitest.Server) { s.Serve(kubeapi.VirtualServices, "") }, "validate -n shop -f FILES", 0,
			[]string{"valid: 2 resources, 0 warnings, 1 notice", "API server test has no virtualservices.networking.istio.io"}, "error"},
		{"older definitions", func(s *apitest.Server) { s.Serve(kubeapi.ServiceEntries, "v1beta1") }, "apply -f FILES", 0,
			[]string{"ServiceEntry shop/a created\nServiceEntry shop/b created\n"}, "error"},
		{"away", func(s *apitest.Server) { s.Stop() }, "delete se a b c -n shop", 1,
			[]string{"API server test: delete ServiceEntry shop/a", "2 objects not asked for after that", "hint: does it run"}, "shop/b"},
		{"a name that nothing can have", func(*apitest.Server) {}, "get se a%b -n shop", 2, []string{`name "a%b": no object can have it`}, "does it run"},
		{"a path for a name", func(*apitest.Server) {}, "get se .. -n shop", 2, []string{`name "..": no object can have it`}, "does it run"},
		{"another namespace than is named", func(*apitest.Server) {}, "apply -n other -f FILES", 1, []string{"/a.json:1: ServiceEntry shop/a: names another namespace than --namespace other", "hint: leave --namespace out"}, "created"},
		{"others to be taken away", func(s *apitest.Server) { s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "a")) }, "delete -n other -f FILES", 1,
			[]string{"/b.json:1: ServiceEntry shop/b: names another namespace than --namespace other"}, "deleted"},
		{"another to be judged", func(*apitest.Server) {}, "validate -n other -f FILES", 1, []string{"names another namespace"}, "valid:"},
		{"Services that may not be seen", func(s *apitest.Server) { s.Refuse(kubeapi.Services, 403) }, "apply -f FILES", 0,
			[]string{"ServiceEntry shop/a created", "notice: not judged beside all that the cluster has: services: may not be read"}, "error"},
		{"names of several", func(s *apitest.Server) { s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "a")) }, "get se a b c -n shop", 1,
			[]string{"shop        a      [a.com]", "error: ServiceEntry shop/b: not found\nerror: ServiceEntry shop/c: not found"}, ""},
		{"what cannot be used", func(s *apitest.Server) { s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "a_")) }, "get se a_ -n shop", 1,
			[]string{"serviceentries/shop/a_: error: ServiceEntry shop/a_: metadata.name", "is there, and is not followed for what is said above"}, "not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := apitest.New(t)
			args := append(strings.Fields(strings.ReplaceAll(c.args, "FILES", entryFile(t, "a", "b"))), "--kubeconfig", s.Kubeconfig())
			c.prepare(s)
			got, code := sluice(args...)
			if code != c.code || c.never != "" && strings.Contains(got, c.never) {
				t.Errorf("exit code %d, not %d, or it says %q:\n%s", code, c.code, c.never, got)
			}
			for _, says := range c.says {
				if !strings.Contains(got, says) {
					t.Errorf("it does not say %s:\n%s", says, got)
				}
			}
		})
	}
}

// What became of several objects is told whole: how many were not asked for after an
// interrupt, and what matters most where one is there already and then nobody answers.
func TestTheEndOfSeveralObjects(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		ctx  context.Context
		said []error
		want string
	}{
		{ended, []error{nil}, "context canceled; 2 objects not asked for after that; "},
		{ended, []error{context.Canceled}, "context canceled; 2 objects not asked for after that; "},
		{t.Context(), []error{kubeapi.ErrExists, kubeapi.ErrUnreachable}, "already exists; the API server does not answer; 1 object not asked for after that; does it run"},
		{t.Context(), []error{kubeapi.ErrExists, nil, nil}, "already exists; 'sluice apply' replaces what is there"},
		{t.Context(), []error{nil, nil, nil}, ""},
	} {
		c := &cobra.Command{}
		c.SetContext(test.ctx)
		all := clusterKeeper{c: c}.each(3)
		for _, err := range test.said {
			all.asked(err)
		}
		got := ""
		if err := all.end(); err != nil {
			got = strings.ReplaceAll(err.Error(), "\n", "; ") + "; "
			if f := (*failure)(nil); errors.As(err, &f) {
				got += f.hint
			}
		}
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%v: %s, want %s", test.said, got, test.want)
		}
	}
}

// Services are among what the cluster has: a route to one is a route to something.
func TestAClustersServicesAreRegistered(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Services, `{"metadata":{"namespace":"shop","name":"web"},"spec":{"clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"],"ports":[{"name":"http","port":80}]}}`)
	file := filepath.Join(t.TempDir(), "route.yaml")
	text := `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web, namespace: shop},
spec: {hosts: [web], http: [{timeout: 3s, route: [{destination: {host: web}}]}]}}`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, code := sluice("apply", "--kubeconfig", s.Kubeconfig(), "-f", file); code != 0 || got != "VirtualService shop/web created\n" {
		t.Errorf("exit code %d:\n%s", code, got)
	}
	if got, code := sluice("validate", "--kubeconfig", s.Kubeconfig()); code != 0 || got != "valid: 1 resource, 0 warnings, 0 notices\n" {
		t.Errorf("exit code %d:\n%s", code, got)
	}
	text = strings.ReplaceAll(text, "host: web", "host: web.shop.svc.corp.test")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"validate --strict", "apply"} {
		args := append(strings.Fields(command), "--kubeconfig", s.Kubeconfig(), "-f", file)
		if got, _ := sluice(args...); !strings.Contains(got, "no ServiceEntry registers it") {
			t.Errorf("%s, in another domain:\n%s", command, got)
		}
		if got, code := sluice(append(args, "--cluster-domain", "corp.test")...); code != 0 || strings.Contains(got, "registers") {
			t.Errorf("%s with its domain: exit code %d:\n%s", command, code, got)
		}
	}
}

// What is not registered falls under the namespace's policy, as the agents have it: explain
// says which and whose word it is. --outbound-policy asks what another would do.
func TestExplainTakesTheNamespacesOutboundPolicy(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Namespaces, `{"metadata":{"name":"shop","annotations":{"sluice.dev/outboundPolicy":"Observe"}}}`, `{"metadata":{"name":"plain"}}`)
	explain := func(want, args string, code int) {
		t.Helper()
		line := append(strings.Fields("explain --url http://nowhere.test/ "+args), "--kubeconfig", s.Kubeconfig())
		if got, exit := sluice(line...); exit != code || !strings.Contains(got, want) {
			t.Errorf("%s: exit code %d, not %d, or it does not say %q:\n%s", args, exit, code, want, got)
		}
	}
	explain("  policy       Observe, by annotation sluice.dev/outboundPolicy of Namespace shop\n", "-n shop", 0)
	explain("REGISTRY_ONLY, by --outbound-policy, unless", "-n shop --outbound-policy REGISTRY_ONLY", 1)
	explain("REGISTRY_ONLY, unless a Sidecar says otherwise: nothing of it is in Namespace plain and ConfigMap sluice-system/sluice-policy\n", "-n plain", 1)
	explain("nothing of it is in Namespace none", "-n none", 1)
	s.Put(kubeapi.ConfigMaps, `{"metadata":{"namespace":"sluice-system","name":"sluice-policy"},"data":{"policy.yaml":"outboundPolicy: ALLOW_ANY"}}`)
	explain("ALLOW_ANY, by ConfigMap sluice-system/sluice-policy\n", "-n plain", 0)
	explain("Observe, by annotation", "-n shop", 0)
	s.Refuse(kubeapi.ConfigMaps, 403)
	explain("notice: outboundPolicy of Namespace shop and ConfigMap sluice-system/sluice-policy: ConfigMap sluice-system/sluice-policy: may not be read", "-n shop", 0)
}

// Who may read one namespace judges by what is there: each object once, however many of a
// file are of that namespace.
func TestWhoMayReadOneNamespaceAppliesAFileTwice(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Services, `{"metadata":{"namespace":"shop","name":"web"},"spec":{"clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"],"ports":[{"name":"http","port":80}]}}`)
	s.Confine()
	files := entryFile(t, "a", "b")
	for _, c := range []struct{ args, want string }{
		{"apply -f FILES", "ServiceEntry shop/a created\nServiceEntry shop/b created\n"},
		{"apply -f FILES", "ServiceEntry shop/a unchanged\nServiceEntry shop/b unchanged\n"},
		{"validate -n shop -f FILES", "valid: 2 resources, 0 warnings, 1 notice\n"},
	} {
		args := append(strings.Fields(strings.ReplaceAll(c.args, "FILES", files)), "--kubeconfig", s.Kubeconfig())
		got, code := sluice(args...)
		if code != 0 || !strings.Contains(got, c.want) || !strings.Contains(got, "notice: not judged beside all that the cluster has") {
			t.Errorf("%s: exit code %d, not %q:\n%s", c.args, code, c.want, got)
		}
	}
}

// validate judges what apply would write: a directory's objects in the namespace that
// --namespace or the context says, and a cluster where one is named, though the directory
// is the default one. Not parallel: it sets the default.
func TestValidateJudgesWhatApplyWouldWrite(t *testing.T) {
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "a"))
	dir := entryFile(t)
	text := `{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: other}, spec: {hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}}`
	if err := os.WriteFile(filepath.Join(dir, "x.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	before := defaultConfigDir
	t.Cleanup(func() { defaultConfigDir = before })
	for _, defaultConfigDir = range []string{filepath.Join(dir, "none"), dir} {
		got, code := sluice("validate", "--kubeconfig", s.Kubeconfig(), "-n", "shop", dir)
		if code != 0 || !strings.Contains(got, "warning: ServiceEntry shop/other") || !strings.Contains(got, "valid: 2 resources") {
			t.Errorf("default directory %s: exit code %d:\n%s", defaultConfigDir, code, got)
		}
	}
}

// --config, else SLUICE_CONFIG, else the default directory if it is there, else the cluster
// that kubectl speaks to; kubectl's plugin means a cluster. Not parallel: it sets the
// environment and the default.
func TestWhereTheResourcesAre(t *testing.T) {
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "cluster"))
	directory, other := entryFile(t, "directory"), entryFile(t, "other")
	before := defaultConfigDir
	t.Cleanup(func() { defaultConfigDir = before })
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("HOME", t.TempDir())
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct{ variable, dir, kubeconfig, name, args, want string }{
		{"", none, s.Kubeconfig(), "sluice", "", "shop/cluster"},
		{"", directory, s.Kubeconfig(), "sluice", "", "shop/directory"},
		{other, directory, s.Kubeconfig(), "sluice", "", "shop/other"},
		{other, directory, s.Kubeconfig(), "sluice", "--config " + directory, "shop/directory"},
		{other, directory, s.Kubeconfig(), "sluice", "--context test", "shop/cluster"},
		{other, directory, "", "sluice", "--kubeconfig " + s.Kubeconfig(), "shop/cluster"},
		{other, directory, s.Kubeconfig(), "/usr/bin/kubectl-sluice", "", "shop/cluster"},
		{other, directory, s.Kubeconfig(), "kubectl-sluice", "--config " + directory, "shop/directory"},
		{"", none, "", "sluice", "", "mkdir -p " + none + ", or name another with --config or SLUICE_CONFIG, or a cluster with --kubeconfig"},
		{"", directory, "", "kubectl-sluice", "", "no kubeconfig names a cluster"},
	} {
		t.Setenv("SLUICE_CONFIG", c.variable)
		t.Setenv("KUBECONFIG", c.kubeconfig)
		defaultConfigDir = c.dir
		var out, errs strings.Builder
		runAs(t.Context(), c.name, append([]string{"get", "-n", "shop", "-o", "name"}, strings.Fields(c.args)...), streams{strings.NewReader(""), &out, &errs})
		want := strings.Replace(c.want, "shop/", "serviceentry.shop/", 1)
		if got := out.String() + errs.String(); !strings.Contains(got, want) {
			t.Errorf("SLUICE_CONFIG %q, default %q, KUBECONFIG %q, %s get %s: not %q\n%s", c.variable, c.dir, c.kubeconfig, c.name, c.args, want, got)
		}
	}
}

// Where nothing is found, it is said where that was. Not parallel: it sets the environment
// and the default.
func TestWhereNothingWasFound(t *testing.T) {
	s := apitest.New(t)
	before, dir := defaultConfigDir, t.TempDir()
	t.Cleanup(func() { defaultConfigDir = before })
	defaultConfigDir = dir
	t.Setenv("SLUICE_CONFIG", "")
	t.Setenv("KUBECONFIG", s.Kubeconfig())
	for _, c := range []struct{ name, args, want string }{
		{"sluice", "get -A", "directory " + dir + "; --kubeconfig or 'kubectl sluice' asks a cluster"},
		{"sluice", "get -n shop", "namespace shop of directory " + dir + "; -A shows every one; --kubeconfig or 'kubectl sluice' asks a cluster"},
		{"sluice", "get --config " + dir, "directory " + dir},
		{"sluice", "get -A --kubeconfig " + s.Kubeconfig(), "the cluster test"},
		{plugin, "get -n shop", "namespace shop of the cluster test; -A shows every one"},
	} {
		var out strings.Builder
		if code := runAs(t.Context(), c.name, strings.Fields(c.args), streams{strings.NewReader(""), &out, &out}); code != 0 || out.String() != "no resources found in "+c.want+"\n" {
			t.Errorf("%s %s: exit code %d, %swant: no resources found in %s", c.name, c.args, code, out.String(), c.want)
		}
	}
}

// Off the node nothing that runs on one answers: it is said where that is asked. Not
// parallel: it sets the environment.
func TestThePluginSaysWhereNodesAreAsked(t *testing.T) {
	t.Setenv(adminVariable, "")
	none := filepath.Join(t.TempDir(), "none")
	const agents = "hint: nodes are asked in their agents' pods, with the same flags: 'kubectl -n sluice-system exec ds/sluice-agent -- /sluice "
	for args, want := range map[string]string{
		"status --run-dir " + none:                               "status'\n",
		"status shop/web --run-dir " + none:                      "status'\n",
		"suggest --run-dir " + none:                              "suggest'; -f reads an access log instead\n",
		"clusters --pod shop/web --admin " + none:                "clusters --pod NAMESPACE/NAME'\n",
		"explain --url http://a/ --pod shop/web --admin " + none: "explain --pod NAMESPACE/NAME'\n",
	} {
		var out strings.Builder
		if code := runAs(t.Context(), plugin, strings.Fields(args), streams{strings.NewReader(""), &out, &out}); code != 1 || !strings.Contains(out.String(), agents+want) {
			t.Errorf("%s: exit code %d, without %q:\n%s", args, code, want, out.String())
		}
	}
}

// What is not for clusters is called by its own name in the plugin's words too.
func TestThePluginCallsWhatIsOfAMachineSluice(t *testing.T) {
	t.Parallel()
	root := newRootCommand()
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sluice"}
	for text, want := range map[string]string{
		"sluice exec --config ./egress":    "sluice exec --config ./egress",
		"start 'sluice agent'":             "start 'sluice agent'",
		"as 'sluice clusters' does":        "as 'sluice clusters' does",
		"'sluice status --all' lists":      "'sluice status --all' lists",
		"sluice status cluster":            "kubectl sluice status cluster",
		"sluice explain --url http://a/":   "kubectl sluice explain --url http://a/",
		"sluice get serviceentries -A":     "kubectl sluice get serviceentries -A",
		"kubectl exec a -- /sluice status": "kubectl exec a -- /sluice status",
	} {
		if got := asCalled(root, text); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
}

func TestHelpOfThePluginSaysHowItIsCalled(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code := runAs(t.Context(), plugin, []string{"get", "--help"}, streams{strings.NewReader(""), &out, &out}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"  kubectl sluice get [KIND", "\n  kubectl sluice get -o name | xargs kubectl sluice delete\n", "'kubectl sluice get' and 'kubectl sluice delete' take"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if text := out.String(); strings.Contains(text, "kubectl kubectl") || strings.Contains(strings.ReplaceAll(text, "kubectl sluice", ""), "sluice ") {
		t.Errorf("not called so everywhere:\n%s", text)
	}
}

// explain answers by what of a cluster may be seen, leaves out what cannot be used, as
// agents do, and says both.
func TestExplainSaysWhatOfTheClusterItCouldNotTake(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, strings.ReplaceAll(shopEntry, "NAME", "a"))
	s.Put(kubeapi.ServiceEntries, `{"metadata":{"namespace":"shop","name":"wrong"},"spec":{"hosts":["x.com:80"]}}`)
	s.Put(kubeapi.Services, `{"metadata":{"namespace":"shop","name":"web"},"spec":{"clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"],"ports":[{"name":"http","port":80}]}}`)
	s.Confine()
	for _, c := range []struct {
		url  string
		code int
		want string
	}{
		{"http://web/", 0, "allowed: to outbound|80||web.shop.svc.cluster.local"},
		{"http://x.com/", 1, "create -f - -n shop --kubeconfig "},
	} {
		got, code := sluice("explain", "-n", "shop", "--url", c.url, "--kubeconfig", s.Kubeconfig())
		for _, want := range []string{c.want, "by the cluster test, as a workload of namespace shop sees it", "error: ServiceEntry shop/wrong", "notice: not judged beside all that the cluster has"} {
			if code != c.code || !strings.Contains(got, want) {
				t.Errorf("%s: exit code %d, without %q:\n%s", c.url, code, want, got)
			}
		}
	}
}
