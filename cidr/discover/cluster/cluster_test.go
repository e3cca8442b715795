package cluster_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/cidr/discover"
	"github.com/sluice-cni/sluice/cidr/discover/cluster"
)

const (
	serviceCIDRs = `{"kind":"ServiceCIDRList","apiVersion":"networking.k8s.io/v1","metadata":{},"items":[{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16","fd00:10:96::/112"]}}]}`
	node         = `{"metadata":{"name":"%s"},"spec":{"podCIDRs":["%s"]},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}`
	kubeadm      = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"kubeadm-config","namespace":"kube-system"},"data":{"ClusterConfiguration":"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {podSubnet: 10.244.0.0/16}\n"}}`
	forbidden    = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"pods is forbidden","reason":"Forbidden","code":403}`
)

// apiServer speaks the API's JSON for what is in answers, 404 otherwise, to those
// who bring the token.
func apiServer(t *testing.T, answers map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, known := answers[r.URL.Path]
		switch {
		case r.Header.Get("Authorization") != "Bearer let-me-in":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"kind":"Status","message":"Unauthorized"}`)
		case !known:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","message":"the server could not find the requested resource"}`)
		case body == forbidden:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, body)
		case r.URL.Path == "/api/v1/nodes" && r.URL.Query().Get("continue") == "":
			fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","metadata":{"continue":"a b&c"},"items":[%s]}`, fmt.Sprintf(node, "one", "10.244.1.0/24"))
		case r.URL.Path == "/api/v1/nodes" && r.URL.Query().Get("continue") == "a b&c":
			fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[%s]}`, fmt.Sprintf(node, "two", "10.244.2.0/24"))
		default:
			fmt.Fprint(w, body)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func complete() map[string]string {
	return map[string]string{
		"/apis/networking.k8s.io/v1/servicecidrs": serviceCIDRs,
		"/api/v1/nodes": "pages",
		"/api/v1/namespaces/kube-system/configmaps/kubeadm-config": kubeadm,
		"/api/v1/namespaces/kube-system/pods":                      forbidden,
	}
}

// kubeconfig writes one for the server, with the given user.
func kubeconfig(t *testing.T, s *httptest.Server, user string) string {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: lab
contexts:
- name: lab
  context: {cluster: lab, user: me}
- name: broken
  context: {cluster: nowhere, user: me}
clusters:
- name: lab
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: me
  user: %s
`, s.URL, base64.StdEncoding.EncodeToString(ca), user)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ask(t *testing.T, path, context string) (discover.Findings, []string, error) {
	t.Helper()
	c, err := cluster.New(t.Context(), path, context)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	return c.Findings(t.Context())
}

func TestALiveClusterTellsItsRanges(t *testing.T) {
	t.Parallel()
	s := apiServer(t, complete())
	found, notes, err := ask(t, kubeconfig(t, s, "{token: let-me-in}"), "")
	if err != nil || len(notes) > 0 {
		t.Fatal(notes, err)
	}
	host := strings.TrimPrefix(s.URL, "https://")
	var got []string
	for _, f := range found {
		got = append(got, f.Prefix.String()+" "+f.Source.String())
	}
	want := []string{
		"10.96.0.0/16 " + host + "/apis/networking.k8s.io/v1/servicecidrs: ServiceCIDR kubernetes spec.cidrs[0]",
		"fd00:10:96::/112 " + host + "/apis/networking.k8s.io/v1/servicecidrs: ServiceCIDR kubernetes spec.cidrs[1]",
		"10.244.1.0/24 " + host + "/api/v1/nodes: Node one spec.podCIDRs[0]",
		"192.0.2.1/32 " + host + "/api/v1/nodes: Node one status.addresses[0]",
		"10.244.2.0/24 " + host + "/api/v1/nodes: Node two spec.podCIDRs[0]",
		"192.0.2.1/32 " + host + "/api/v1/nodes: Node two status.addresses[0]",
		"10.244.0.0/16 " + host + "/api/v1/namespaces/kube-system/configmaps/kubeadm-config: ConfigMap kube-system/kubeadm-config data.ClusterConfiguration ClusterConfiguration networking.podSubnet",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryKindOfCredential(t *testing.T) {
	t.Parallel()
	s := apiServer(t, complete())
	dir := t.TempDir()
	program, token := filepath.Join(dir, "login"), filepath.Join(dir, "token")
	script := "#!/bin/sh\ncase \"$KUBERNETES_EXEC_INFO\" in *ExecCredential*) ;; *) exit 1;; esac\n[ \"$1 $WHO\" = \"get me\" ] && echo '{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"let-me-in\"}}'\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(token, []byte("let-me-in\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{
		"{token: let-me-in}", "{tokenFile: " + token + "}",
		"{exec: {apiVersion: client.authentication.k8s.io/v1, command: " + program + ", args: [get], env: [{name: WHO, value: me}]}}",
	} {
		if found, _, err := ask(t, kubeconfig(t, s, user), "lab"); err != nil || len(found) != 7 {
			t.Errorf("%s: %v %v", user, found, err)
		}
	}
}

func TestAnOlderClusterHasNoServiceCIDRsAndSaysSo(t *testing.T) {
	t.Parallel()
	answers := complete()
	delete(answers, "/apis/networking.k8s.io/v1/servicecidrs")
	found, notes, err := ask(t, kubeconfig(t, apiServer(t, answers), "{token: let-me-in}"), "")
	if err != nil || len(found) != 5 || len(notes) != 1 || !strings.Contains(notes[0], "no ServiceCIDR objects") {
		t.Error(found, notes, err)
	}
}

func TestWhatTheServerRefusesIsSaid(t *testing.T) {
	t.Parallel()
	s := apiServer(t, complete())
	answers := complete()
	answers["/api/v1/nodes"] = forbidden
	other := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	gone := kubeconfig(t, s, "{}")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ path, context, want string }{
		"wrong token":      {kubeconfig(t, s, "{token: wrong}"), "", "401 Unauthorized: Unauthorized; the credentials"},
		"no credentials":   {kubeconfig(t, s, "{}"), "", "401 Unauthorized"},
		"not allowed":      {kubeconfig(t, apiServer(t, answers), "{token: let-me-in}"), "", "/api/v1/nodes: 403 Forbidden: pods is forbidden; the user needs"},
		"no such context":  {kubeconfig(t, s, "{}"), "mars", `context "mars": there is none of that name`},
		"no such cluster":  {kubeconfig(t, s, "{}"), "broken", `its cluster "nowhere" has no server`},
		"no file":          {gone, "", "cannot be read: no such file"},
		"no token file":    {kubeconfig(t, s, "{tokenFile: nowhere}"), "", "cannot be read: no such file"},
		"no program":       {kubeconfig(t, s, "{exec: {command: /nowhere/login, installHint: install it}}"), "", "install it"},
		"not base64":       {kubeconfig(t, s, "{client-certificate-data: '!'}"), "", "client-certificate-data: not base64"},
		"nothing to learn": {kubeconfig(t, apiServer(t, nil), "{token: let-me-in}"), "", "says nothing about a cluster's ranges"},
	} {
		if _, _, err := ask(t, tc.path, tc.context); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServerThatTheKubeconfigDoesNotTrustGetsNoCredentials(t *testing.T) {
	t.Parallel()
	asked := false
	impostor := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	impostor.StartTLS()
	defer impostor.Close()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {server: '" + impostor.URL + "'}}]\nusers: [{name: a, user: {token: let-me-in}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask(t, path, ""); err == nil || asked {
		t.Error(asked, err)
	}
}

func TestTheKubeconfigIsTheOneThatKubectlReads(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "second")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", filepath.Join(dir, "first")+":"+file)
	if got := cluster.FindKubeconfig(); got != file {
		t.Error(got)
	}
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", dir)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if got := cluster.FindKubeconfig(); got != "" {
		t.Error(got)
	}
	if _, err := cluster.New(context.Background(), "", ""); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Error(err)
	}
}
