package main

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent/kube/secrets"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// An agent may read every file of its node, as by /proc/1/root, and whoever writes a
// DestinationRule in one namespace of the cluster names paths in it.
func TestAClustersResourcesNameNoFileOfTheNode(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for _, dir := range []string{"", t.TempDir()} {
		c := &cobra.Command{}
		credentialsFlag(c)
		if err := c.Flags().Set("credentials", dir); err != nil {
			t.Fatal(err)
		}
		store, err := (&inCluster{secrets: secrets.New(nil, "", log)}).credentials(c, log)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []credential.Wanted{
			{CACertificates: "/proc/1/root" + filepath.Join(certificateFolders[0], "a.pem"), Verify: true},
			{CRL: "/proc/self/environ", Verify: true},
			{ClientCertificate: filepath.Join(certificateFolders[0], "a.pem"), PrivateKey: "/proc/1/root/etc/key.pem", Present: true},
		} {
			if m, err := store.Open(w).Material(); err == nil {
				t.Errorf("--credentials %q, %+v: %+v", dir, w, m)
			}
		}
	}
}
