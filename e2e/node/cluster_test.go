package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// An agent follows a cluster's resources: what changes there is in force in pods that
// run, and while the API server is away what was last known stays, for the next agent too.
func TestAnAgentFollowsACluster(t *testing.T) {
	needsRoot(t)
	server := apitest.New(t)
	register(t, server, stage.Resources)
	// In a cluster silence selects nothing.
	server.Put(kubeapi.ConfigMaps, `{"metadata":{"namespace":"sluice-system","name":"sluice-policy"},"data":{"policy.yaml":"selection: all"}}`)
	n := stage.New(t, stage.Options{Kubeconfig: server.Kubeconfig()})
	n.StartHolder()
	n.StartAgent()
	p := added(t, n)
	governed(t, p)

	server.Remove(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "default", Name: "database"})
	await.True(t, "what is not registered any more is refused", func() bool { return p.Do(database, 5*time.Second) != nil })
	register(t, server, stage.Resources)
	await.True(t, "what is registered again is reached", func() bool { return p.Do(database, patience) == nil })

	server.Put(kubeapi.ServiceEntries, `{"metadata":{"namespace":"default","name":"wrong"},"spec":{"hosts":["a b"]}}`)
	await.True(t, "status names the object that is refused", func() bool {
		s, err := n.Status()
		return err == nil && strings.Contains(strings.Join(s.Issues, "\n"), "serviceentries/default/wrong")
	})

	// The journal is written each second.
	await.True(t, "what is known is kept", func() bool {
		kept, err := filepath.Glob(filepath.Join(n.StateDir, "agent", "cluster", "serviceentries*"))
		return err == nil && len(kept) > 0
	})
	n.Agent().Terminate()
	<-n.Agent().Ended
	server.Stop()
	n.StartAgent()
	governed(t, p)
	server.Start()
	server.Remove(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "default", Name: "database"})
	await.True(t, "the cluster is followed again", func() bool { return p.Do(database, 5*time.Second) != nil })
}

// register puts resources of YAML into a cluster.
func register(t *testing.T, server *apitest.Server, text string) {
	t.Helper()
	for d := yaml.NewDecoder(bytes.NewReader([]byte(text))); ; {
		var o map[string]any
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		o["metadata"].(map[string]any)["namespace"] = "default"
		data, err := json.Marshal(o)
		must(t, err)
		server.Put(kubeapi.ServiceEntries, string(data))
	}
}
