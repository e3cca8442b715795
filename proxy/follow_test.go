package proxy_test

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// The labels of a pod change, or become known: what is seen of the configuration is
// another, at once, and the connections to services whose settings are the same stay.
// In another namespace they do not: it has other credentials.
func TestAWorkloadFollowsItsLabelsAndItsNamespace(t *testing.T) {
	t.Parallel()
	opened := make(chan string, 100)
	server := func(name string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(echo), ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened <- name
			}
		}}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		return l.Addr().String()
	}
	yaml := static("all", "all.test", "HTTP", 80, server("all")) + "---\n" + static("own", "own.test", "HTTP", 80, server("own")) + `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s}
spec:
  workloadSelector: {labels: {app: shop}}
  egress: [{hosts: ["./all.test"]}]
`
	resources, issues := mesh.Decode("test.yaml", []byte(yaml), mesh.DecodeOptions{})
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	snapshot, issues := mesh.Build(resources, mesh.Options{})
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	r := newRig(t, mesh.RegistryOnly, yaml, func(cfg *proxy.Config) { cfg.Workload = mesh.Workload{Pod: "p"} })
	client := r.client() // of one connection: what it has used is free when it asks again
	for _, step := range []struct {
		who      mesh.Workload
		all, own int
		anew     bool // a connection to all.test
	}{
		{mesh.Workload{Pod: "p"}, 200, 200, true},
		{mesh.Workload{Pod: "p", Labels: map[string]string{"app": "shop"}}, 200, 502, false},
		{mesh.Workload{Pod: "p", Name: "other", Labels: map[string]string{"app": "other"}}, 200, 200, false},
		{mesh.Workload{Pod: "p", Namespace: "elsewhere"}, 200, 200, true},
	} {
		r.server.Follow(snapshot, step.who)
		if got := r.server.Workload(); got.Name != step.who.Name || got.Pod != "p" || got.Namespace == "" {
			t.Errorf("%+v became %+v", step.who, got)
		}
		for host, want := range map[string]int{"all.test": step.all, "own.test": step.own} {
			resp, err := client.Get("http://" + host + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%+v: %s: %d %s", step.who, host, resp.StatusCode, body)
			}
		}
		anew := false
		for len(opened) > 0 {
			anew = <-opened == "all" || anew
		}
		if anew != step.anew {
			t.Errorf("%+v: a new connection to all.test: %v", step.who, anew)
		}
		r.server.Update(snapshot) // for the same workload
		if got := r.server.Workload(); got.Name != step.who.Name {
			t.Errorf("after Update it is %+v", got)
		}
	}
}
