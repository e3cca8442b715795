package kube_test

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/agent/kube"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

func TestWhatDefeatsTheRedirectIsSaid(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, data string
		want       []string
	}{
		{"as it comes, in place of kube-proxy", `{"cni-exclusive":"true","kube-proxy-replacement":"true"}`, []string{"cni.exclusive=false", "socketLB.hostNamespaceOnly=true"}},
		{"by itself", `{"cni-exclusive":"false","bpf-lb-sock":"true"}`, []string{"socketLB.hostNamespaceOnly=true"}},
		{"as it should be", `{"cni-exclusive":"false","kube-proxy-replacement":"true","bpf-lb-sock-hostns-only":"true"}`, nil},
		{"without either", `{}`, nil},
		{"no Cilium", ``, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := apitest.New(t)
			if tc.data != "" {
				server.Put(kubeapi.ConfigMaps, `{"metadata":{"namespace":"kube-system","name":"cilium-config"},"data":`+tc.data+`}`)
			}
			n := start(t, server, kube.Options{}, (*kube.Node).Neighbours)
			await.True(t, "it was looked for", func() bool { return server.Asked("get", kubeapi.ConfigMaps) > 0 && len(n.Beside()) >= len(tc.want) })
			found := n.Beside()
			if len(found) != len(tc.want) {
				t.Fatalf("%q", found)
			}
			for i, want := range tc.want {
				if !strings.Contains(found[i], want) {
					t.Errorf("%q, want %s", found[i], want)
				}
			}
			await.True(t, "an Event for each", func() bool { return len(server.Keys(kubeapi.Events)) == len(tc.want) })
		})
	}
}
