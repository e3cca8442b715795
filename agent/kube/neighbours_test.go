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
	server := apitest.New(t)
	server.Put(kubeapi.ConfigMaps, `{"metadata":{"namespace":"kube-system","name":"cilium-config"},"data":{"cni-exclusive":"true","kube-proxy-replacement":"true"}}`)
	n := start(t, server, kube.Options{}, (*kube.Node).Neighbours)
	await.True(t, "two sentences", func() bool { return len(n.Beside()) == 2 })
	await.True(t, "an Event for each", func() bool { return len(server.Keys(kubeapi.Events)) == 2 })
	for _, e := range events(t, server) {
		if e.Reason != kube.BesideIt || e.InvolvedObject.Name != "worker" || !strings.Contains(e.Message, "Cilium") {
			t.Errorf("%+v", e)
		}
	}
}
