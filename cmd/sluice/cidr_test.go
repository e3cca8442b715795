package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// aCluster says its ranges in every way.
func aCluster(t *testing.T) *apitest.Server {
	t.Helper()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceCIDRs, `{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16","fd00:10:96::/112"]}}`)
	s.Put(kubeapi.Nodes,
		`{"metadata":{"name":"one"},"spec":{"podCIDRs":["10.244.1.0/24"]},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}}`,
		`{"metadata":{"name":"two"},"spec":{"podCIDRs":["10.244.2.0/24"]}}`)
	s.Put(kubeapi.ConfigMaps, `{"metadata":{"name":"kubeadm-config","namespace":"kube-system"},"data":{"ClusterConfiguration":"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {podSubnet: 10.244.0.0/16}\n"}}`)
	s.Put(kubeapi.Pods, `{"metadata":{"name":"kube-apiserver-one","namespace":"kube-system","labels":{"tier":"control-plane"}},"spec":{"containers":[{"name":"kube-apiserver","command":["kube-apiserver","--service-cluster-ip-range=10.97.0.0/16"]}]}}`)
	return s
}

func TestALiveClusterTellsItsRanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*apitest.Server)
		code    int
		want    []string
	}{
		"all of it": {func(*apitest.Server) {}, 0, []string{
			"10.96.0.0/16       services   ServiceCIDR", "test: ServiceCIDR kubernetes spec.cidrs[0]", "fd00:10:96::/112",
			"test: Node one spec.podCIDRs[0]", "192.0.2.1/32       nodes", "test: Node two spec.podCIDRs[0]",
			"test: ConfigMap kube-system/kubeadm-config data.ClusterConfiguration ClusterConfiguration networking.podSubnet",
			"10.97.0.0/16       services   flags",
			"includeIPRanges: 10.96.0.0/15,10.244.0.0/16,fd00:10:96::/112\n"}},
		"an older one":                       {func(s *apitest.Server) { s.Serve(kubeapi.ServiceCIDRs, "") }, 0, []string{"notice: the cluster has no ServiceCIDR objects", "10.244.2.0/24"}},
		"an older API":                       {func(s *apitest.Server) { s.Serve(kubeapi.ServiceCIDRs, "v1beta1") }, 0, []string{"10.96.0.0/16"}},
		"of kube-system nothing may be read": {func(s *apitest.Server) { s.Refuse(kubeapi.ConfigMaps, 403); s.Refuse(kubeapi.Pods, 403) }, 0, []string{"10.244.2.0/24"}},
		"no Nodes may be read":               {func(s *apitest.Server) { s.Refuse(kubeapi.Nodes, 403) }, 1, []string{`resources ["nodes"], verbs ["list"]`}},
		"who asks is not known":              {func(s *apitest.Server) { s.Refuse(kubeapi.Nodes, 401) }, 1, []string{"does not know who asks"}},
		"away":                               {func(s *apitest.Server) { s.Stop() }, 1, []string{"API server test"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aCluster(t)
			path := s.Kubeconfig()
			c.prepare(s)
			got, code := sluice("cidr", "--kubeconfig", path)
			if code != c.code {
				t.Errorf("exit code %d, not %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if t.Failed() {
				t.Log(got)
			}
		})
	}
	if got, code := sluice("cidr", "--kubeconfig", apitest.New(t).Kubeconfig()); code != 1 || !strings.Contains(got, "says nothing about a cluster's ranges") {
		t.Errorf("an empty cluster: exit code %d\n%s", code, got)
	}
}

func TestRangesOfALiveClusterAreKept(t *testing.T) {
	config := aCluster(t).Kubeconfig()
	kept := filepath.Join(t.TempDir(), "kept", "ranges.json")
	t.Setenv("KUBECONFIG", config)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	const ranges = "10.96.0.0/15,10.244.0.0/16,fd00:10:96::/112"
	for _, from := range [][]string{{"--from-cluster"}, {"--kubeconfig", config}} {
		out, code := sluice(append([]string{"cidr", "-o", "list", "--write", kept, "--valid-for", "1h"}, from...)...)
		if code != 0 || !strings.HasPrefix(out, ranges+"\n") || !strings.Contains(out, kept+" written: 3 ranges") {
			t.Fatal(code, out)
		}
		list, err := rangesfile.Read(kept, time.Now())
		if err != nil || list.String() != ranges {
			t.Error(list, err)
		}
		if _, err := rangesfile.Read(kept, time.Now().Add(2*time.Hour)); err == nil {
			t.Error("is valid for ever")
		}
		f, err := rangesfile.Load(kept)
		if err != nil || len(f.Sources) != 6 || f.Sources[2].From != "test: Node one spec.podCIDRs[0]" {
			t.Error(f, err)
		}
		if err := os.Remove(kept); err != nil {
			t.Fatal(err)
		}
	}
}
