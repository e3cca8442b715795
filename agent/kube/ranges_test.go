package kube_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/kube"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// often has Nodes listed without a wait.
var often = kube.Options{LookAtNodes: time.Millisecond}

func TestTheClustersRangesAreInTheFile(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.ServiceCIDRs, `{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16","fd00:96::/112"]}}`)
	server.Put(kubeapi.Nodes, `{"metadata":{"name":"a"},"spec":{"podCIDRs":["10.244.0.0/24","fd00:1::/64"],"podCIDR":"10.244.0.0/24"}}`,
		`{"metadata":{"name":"b"},"spec":{"podCIDR":"10.244.1.0/24"}}`, `{"metadata":{"name":"new"}}`)
	path := filepath.Join(t.TempDir(), "ranges.json")
	start(t, server, often, func(n *kube.Node) { n.Ranges(path) })
	is := func(want string) {
		t.Helper()
		await.True(t, "ranges "+want, func() bool {
			list, err := rangesfile.Read(path, time.Now())
			return err == nil && list.String() == want
		})
	}
	is("10.96.0.0/16,10.244.0.0/23,fd00:1::/64,fd00:96::/112")
	server.Put(kubeapi.Nodes, `{"metadata":{"name":"c"},"spec":{"podCIDRs":["10.244.2.0/24"]}}`)
	is("10.96.0.0/16,10.244.0.0/23,10.244.2.0/24,fd00:1::/64,fd00:96::/112")
	server.Remove(kubeapi.Nodes, kubeapi.Key{Name: "a"})
	is("10.96.0.0/16,10.244.1.0/24,10.244.2.0/24,fd00:96::/112")
	// A thousand agents would be told of a thousand Nodes whose status changes.
	if n := server.Asked("watch", kubeapi.Nodes); n != 0 {
		t.Errorf("all Nodes are watched")
	}
}

func TestSomebodyElsesRangesAreLeftAlone(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Nodes, `{"metadata":{"name":"a"},"spec":{"podCIDR":"10.244.0.0/24"}}`)
	path, other := filepath.Join(t.TempDir(), "ranges.json"), filepath.Join(t.TempDir(), "ranges.json")
	f := rangesfile.File{Written: time.Now(), Ranges: []string{"10.0.0.0/8"}, Sources: []rangesfile.Source{{Range: "10.0.0.0/8", Kind: "cluster", From: "stdin:1"}}}
	if err := rangesfile.Write(path, f); err != nil {
		t.Fatal(err)
	}
	start(t, server, often, func(n *kube.Node) { n.Ranges(path); n.Ranges(other) })
	await.True(t, "the other file is written", func() bool { _, err := rangesfile.Load(other); return err == nil })
	if list, err := rangesfile.Read(path, time.Now()); err != nil || list.String() != "10.0.0.0/8" {
		t.Error(list, err)
	}
}

// An agent that knows nothing from before and may not read one of the kinds leaves of that
// one what the file has: rules would lose its ranges.
func TestARefusedKindTakesNoRangesFromTheFile(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.ServiceCIDRs, `{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16"]}}`)
	server.Put(kubeapi.Nodes, `{"metadata":{"name":"a"},"spec":{"podCIDR":"10.244.0.0/24"}}`)
	path := filepath.Join(t.TempDir(), "ranges.json")
	is := func(want string) {
		t.Helper()
		await.True(t, "ranges "+want, func() bool {
			list, err := rangesfile.Read(path, time.Now())
			return err == nil && list.String() == want
		})
	}
	_, stop := startAndStop(t, server, kubeapi.FollowOptions{Refused: time.Millisecond}, often, func(n *kube.Node) { n.Ranges(path) })
	is("10.96.0.0/16,10.244.0.0/24")
	stop()
	server.Refuse(kubeapi.ServiceCIDRs, 403)
	server.Put(kubeapi.Nodes, `{"metadata":{"name":"b"},"spec":{"podCIDR":"10.245.0.0/24"}}`)
	start(t, server, often, func(n *kube.Node) { n.Ranges(path) })
	is("10.96.0.0/16,10.244.0.0/24,10.245.0.0/24")
	server.Refuse(kubeapi.ServiceCIDRs, 0)
	server.Remove(kubeapi.ServiceCIDRs, kubeapi.Key{Name: "kubernetes"})
	server.Put(kubeapi.ServiceCIDRs, `{"metadata":{"name":"other"},"spec":{"cidrs":["10.97.0.0/16"]}}`)
	is("10.97.0.0/16,10.244.0.0/24,10.245.0.0/24")
}
