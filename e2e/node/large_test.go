package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// What an agent takes in a large cluster (docs/performance.md).
const (
	largeMemory = 120e6 // bytes resident, idle, with all pods
	largePeak   = 200e6 // bytes resident, the most ever
)

// One agent for every pod of a node in a cluster of 5 000 Services and 2 000
// ServiceEntries.
func TestAnAgentInALargeCluster(t *testing.T) {
	needsRoot(t)
	t.Run("streamed lists", func(t *testing.T) { largeCluster(t, false) })
	t.Run("plain lists", func(t *testing.T) { largeCluster(t, true) })
}

func largeCluster(t *testing.T, old bool) {
	pods, services, entries := 5, 200, 100
	if *full {
		pods, services, entries = 500, 5000, 2000
	}
	server := apitest.New(t)
	if old {
		server.Old()
		pods = min(pods, 20) // what differs is the start
	}
	register(t, server, stage.Resources)
	server.Put(kubeapi.ConfigMaps, `{"metadata":{"namespace":"sluice-system","name":"sluice-policy"},"data":{"policy.yaml":"selection: all"}}`)
	for i := range services {
		server.Put(kubeapi.Services, bigService(i))
	}
	for i := range entries {
		server.Put(kubeapi.ServiceEntries, fmt.Sprintf(`{"metadata":{"namespace":"team-%d","name":"entry-%d",%s},"spec":{"hosts":["host-%[2]d.example.com"],"ports":[{"number":443,"name":"https","protocol":"TLS"}],"resolution":"DNS"}}`,
			i%50, i, written))
	}
	n := stage.New(t, stage.Options{Kubeconfig: server.Kubeconfig(), Runtime: true})
	n.StartHolder()
	began := time.Now()
	n.StartAgent()
	want := services + entries
	await.True(t, "all of it is in force", func() bool { s, err := n.Status(); return err == nil && s.Resources >= want })
	figure(t, "%d Services and %d ServiceEntries in force after", time.Since(began), services, entries)
	figure(t, "the agent without pods: %s, at most %.1f MB", 0, n.Agent().Memory(), float64(n.Agent().Memory().Peak)/1e6)

	all := makePods(t, n, pods)
	each(t, all, 4, func(p *stage.Pod) error { err := p.Add(); p.Known(true); return err })
	await.True(t, "all pods are enrolled", func() bool { return n.Enrolled() == pods })
	allGoverned(t, all)
	if *full {
		idle(t, n, 30*time.Second)
	}
	memory := n.Agent().Memory()
	figure(t, "the agent with %d pods: %s, at most %.1f MB", 0, pods, memory, float64(memory.Peak)/1e6)
	if *full {
		within(t, "bytes resident", float64(memory.Resident()), largeMemory)
		within(t, "bytes resident at most", float64(memory.Peak), largePeak)
	}
}

// written is what a server has of an object beside what people wrote.
var written = `"labels":{"app.kubernetes.io/name":"web","app.kubernetes.io/managed-by":"Helm"},"annotations":{"meta.helm.sh/release-name":"web","kubectl.kubernetes.io/last-applied-configuration":"` +
	strings.Repeat("x", 600) + `"},"managedFields":[{"manager":"helm","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:app.kubernetes.io/managed-by":{}},"f:annotations":{".":{},"f:meta.helm.sh/release-name":{}}},"f:spec":{"f:internalTrafficPolicy":{},"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}},"f:selector":{},"f:sessionAffinity":{},"f:type":{}}}}]`

// bigService is as long as they are: about 2 kB.
func bigService(i int) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"team-%d","name":"service-%d",%s},"spec":{"type":"ClusterIP","clusterIP":"10.96.%d.%d","clusterIPs":["10.96.%[4]d.%[5]d"],`+
		`"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster","sessionAffinity":"None","selector":{"app.kubernetes.io/name":"web"},`+
		`"ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":"http"},{"name":"grpc","port":9000,"protocol":"TCP","targetPort":9000}]},"status":{"loadBalancer":{}}}`,
		i%50, i, written, i/250, i%250+1)
}
