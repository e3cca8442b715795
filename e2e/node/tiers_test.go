package node

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/e2e/tiers"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
)

// tierNode is a node for the scenarios that every tier runs. Its policy selects, and its
// directory has the resources; who makes pods is the tier's own.
type tierNode struct {
	*stage.Node
	pod func(t *testing.T, name string, annotations map[string]string) (tiers.Pod, error)
}

// newTierNode is a node without agents yet, at an internet that acts what scenarios ask
// for. Agents trust its authority.
func newTierNode(t *testing.T, o stage.Options) *tierNode {
	t.Helper()
	internet := egress.NewInternet(t)
	tiers.Act(internet)
	t.Setenv("SSL_CERT_FILE", internet.CA)
	o.DrainLimit = time.Minute
	o.Resolver = egress.DNS
	o.Entry = map[string]any{"includeIPRanges": "*", "dnsCapture": false}
	n := &tierNode{Node: stage.New(t, o)}
	here, err := lab.Current()
	must(t, err)
	t.Cleanup(func() { here.Close() })
	must(t, internet.Connect(here, "egress0", netip.MustParsePrefix("172.31.0.0/24"), netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix(egress.DNS+"/32")))
	// The world's own /etc. Agents look names up by it, and programs in namespaces do.
	must(t, os.RemoveAll("/etc/resolv.conf"))
	must(t, os.WriteFile("/etc/resolv.conf", []byte("nameserver "+egress.DNS+"\n"), 0o644))
	n.Policy(onlyAnnotated)
	return n
}

const onlyAnnotated = "selection: annotated\n"

// decree has the namespace in the policy with these words, or not in it, and waits until
// the plugin is told so: without an API server nobody else finds a pod that starts
// meanwhile, but the agent, which looks every ten seconds.
func (n *tierNode) decree(t *testing.T, namespace string) {
	t.Helper()
	policy := onlyAnnotated
	if namespace != "" {
		policy += "namespaces: " + namespace
	}
	n.Policy(policy)
	await.True(t, "the policy says "+policy, func() bool {
		file, err := os.ReadFile(filepath.Join(n.StateDir, "policy.json"))
		return err == nil && strings.Contains(string(file), namespace) && (namespace != "" || !strings.Contains(string(file), "namespaces"))
	})
}

// run runs the scenarios of these names, or all.
func (n *tierNode) run(t *testing.T, names ...string) {
	n.StartHolder()
	n.StartAgent()
	tiers.Run(t, func(t *testing.T) tiers.Tier {
		n.decree(t, "")
		return n
	}, names...)
}

func (n *tierNode) Pod(t *testing.T, name string, annotations map[string]string) (tiers.Pod, error) {
	t.Helper()
	return n.pod(t, name, annotations)
}

func (n *tierNode) Select(t *testing.T, yes bool) {
	t.Helper()
	n.decree(t, fmt.Sprintf(`{"default":{"select":%v}}`, yes))
}

func (n *tierNode) Apply(t *testing.T, yaml string) {
	t.Helper()
	n.Write(resourcesFile(yaml), yaml)
}

func (n *tierNode) Withdraw(t *testing.T, yaml string) {
	t.Helper()
	if err := os.Remove(filepath.Join(n.ConfigDir, resourcesFile(yaml))); err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
}

func resourcesFile(yaml string) string { return fmt.Sprintf("%.8x.yaml", sha256.Sum256([]byte(yaml))) }

// ReplaceAgent starts one, to which the one before it hands over.
func (n *tierNode) ReplaceAgent(t *testing.T) {
	t.Helper()
	n.StartAgent()
}
