package chart_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/kubeapi"
)

// withToken writes a kubeconfig with a token of an account; flags are those of kubectl
// create token.
func withToken(t *testing.T, s *apiserver.Server, account string, flags ...string) string {
	t.Helper()
	token, err := s.Kubectl(append([]string{"create", "token", account, "--namespace=sluice-system"}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	user := config["users"].([]any)[0].(map[string]any)["user"].(map[string]any)
	user["token"] = strings.TrimSpace(token)
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// followsWithItsRights follows, with the token of the agent's account, what the agent
// follows: nothing is forbidden.
func followsWithItsRights(t *testing.T, s *apiserver.Server) {
	cluster, err := kubeapi.Connect(withToken(t, s, "sluice-agent"), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	feed := cluster.Feed(kubeapi.FollowOptions{})
	var waiting sync.WaitGroup
	for kind, selector := range map[kubeapi.Kind]kubeapi.Selector{
		kubeapi.ServiceEntries:   {},
		kubeapi.VirtualServices:  {},
		kubeapi.DestinationRules: {},
		kubeapi.Sidecars:         {},
		kubeapi.Services:         {},
		kubeapi.EndpointSlices:   {Labels: "service.kubernetes.io/headless"},
		kubeapi.Namespaces:       {},
		kubeapi.Pods:             {Fields: "spec.nodeName=node1"},
		kubeapi.Nodes:            {},
		kubeapi.ServiceCIDRs:     {},
		kubeapi.ConfigMaps:       {Namespace: "sluice-system", Fields: "metadata.name=sluice-policy"},
	} {
		waiting.Add(1)
		done := sync.OnceFunc(waiting.Done)
		feed.Follow(kind, selector, func(d kubeapi.Delta) {
			if d.Err != nil {
				t.Errorf("%s: %v", kind, d.Err)
			}
			if d.Err != nil || d.Complete {
				done()
			}
		})
	}
	running := make(chan error, 1)
	go func() { running <- feed.Run(ctx) }()
	waiting.Wait()
	cancel()
	<-running
	// What it gets by name, and what it writes.
	if _, err := cluster.Get(t.Context(), kubeapi.Secrets, kubeapi.Key{Namespace: "shop", Name: "credential"}); err != nil {
		t.Error(err)
	}
	event := `{"apiVersion":"v1","kind":"Event","metadata":{"name":"x.1","namespace":"shop"},"involvedObject":{"kind":"Pod","namespace":"shop","name":"x"},"reason":"SluiceNotEnrolled","message":"said","type":"Warning"}`
	if err := cluster.Create(t.Context(), kubeapi.Events, []byte(event)); err != nil {
		t.Error(err)
	}
}
