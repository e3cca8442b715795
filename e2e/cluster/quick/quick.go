package quick

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
)

// New starts an API server that ends with the test. flags are further flags of
// kube-apiserver. Where the programs have not been built yet the test is not run:
// building them takes longer than `make test` may.
func New(t testing.TB, flags ...string) *apiserver.Server {
	t.Helper()
	if programs.Etcd() == "" || programs.Kubernetes() == "" {
		t.Skip("not run: needs etcd and kube-apiserver, which `make e2e` builds and keeps")
	}
	return apiserver.Start(t, t.TempDir(), apiserver.Options{Flags: append([]string{
		// No controller makes the default service account of a namespace, nor anybody
		// pods; no node wants to find the API server by the Service kubernetes.
		"--disable-admission-plugins=ServiceAccount", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
	}, flags...)})
}
