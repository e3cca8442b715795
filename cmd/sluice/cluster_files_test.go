package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	nodekube "github.com/sluice-cni/sluice/agent/kube"
	"github.com/sluice-cni/sluice/agent/kube/secrets"
	"github.com/sluice-cni/sluice/agent/podlog"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/ca"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// An agent may read every file of its node, as by /proc/1/root, and whoever writes a
// DestinationRule in one namespace of the cluster names paths in it.
func TestAClustersResourcesNameNoFileOfTheNode(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	authority, err := ca.New("of the node")
	must(err)
	client, err := authority.Issue("of the node")
	must(err)
	cert, key, err := ca.Pair(client)
	must(err)
	revoked, err := authority.Revoke(time.Now().Add(time.Hour), nil)
	must(err)
	node := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(node, name)
		must(os.WriteFile(path, text, 0o600))
		return path
	}
	caFile, crlFile := file("ca.pem", authority.PEM()), file("crl.pem", revoked)
	for _, dir := range []string{"", t.TempDir()} {
		c := &cobra.Command{}
		credentialsFlag(c)
		must(c.Flags().Set("credentials", dir))
		ofCluster, err := (&inCluster{secrets: secrets.New(nil, "", log)}).credentials(c, log)
		must(err)
		ofMachine, err := (*inCluster)(nil).credentials(c, log)
		must(err)
		for _, w := range []credential.Wanted{
			{CACertificates: caFile, Verify: true},
			{CACertificates: caFile, CRL: crlFile, Verify: true},
			{ClientCertificate: file("client.pem", cert), PrivateKey: file("client.key", key), Present: true},
		} {
			if m, err := ofCluster.Open(w).Material(); err == nil || !strings.Contains(err.Error(), "is a file of the node's") {
				t.Errorf("--credentials %q, %+v: %+v, %v", dir, w, m, err)
			}
			if _, err := ofMachine.Open(w).Material(); err != nil { // else that says nothing
				t.Errorf("a machine's own resources, %+v: %v", w, err)
			}
		}
	}
}

// Whoever names one is told so, though the rule is in force.
func TestWhoNamesAFileOfTheNodeIsWarned(t *testing.T) {
	t.Parallel()
	server, log := apitest.New(t), slog.New(slog.DiscardHandler)
	server.Put(kubeapi.DestinationRules, `{"metadata":{"namespace":"shop","name":"rule"},"spec":{"host":"a.example.com","trafficPolicy":{"tls":{"mode":"SIMPLE","caCertificates":"/etc/kubernetes/pki/ca.crt"}}}}`)
	k := &inCluster{cluster: server.Cluster(), objects: podlog.New(log.Handler())}
	k.feed = k.cluster.Feed(kubeapi.FollowOptions{Log: log})
	k.node = nodekube.New(k.cluster, k.feed, "worker", nodekube.Options{Log: log})
	store, err := agentOptions{}.openResources(&cobra.Command{}, k, mesh.Options{}, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.feed.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	await.True(t, "it is said", func() bool {
		return strings.Contains(store.Issues().Error(), "is a file of the node's") && store.Errors() == 0
	})
}
