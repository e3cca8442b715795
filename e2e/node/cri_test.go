package node

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/agent/cri"
	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/selection"
)

// What the agent learns of running pods is what their authors wrote.
func TestTheRuntimeTellsWhichPodsRun(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		n := stage.New(t, stage.Options{})
		n.Entry = map[string]any{"includeIPRanges": stage.Captured, "capabilities": map[string]bool{"io.kubernetes.cri.pod-annotations": true}}
		c := runtimeOf(t, n, r)
		client := cri.New("unix://" + c.Socket)
		defer client.Close()

		name, version, err := client.Version(t.Context())
		if err != nil || name != "containerd" || strings.TrimPrefix(version, "v")[:len(r.Version)] != r.Version {
			t.Errorf("version: %q %q, %v", name, version, err)
		}
		config, err := client.NetworkConfig(t.Context())
		if err != nil || !json.Valid(config) || !strings.Contains(string(config), "sluice-cni") || !strings.Contains(string(config), stage.Captured) {
			t.Errorf("network configuration: %s, %v", config, err)
		}
		if all, err := client.Sandboxes(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("before any pod: %+v, %v", all, err)
		}

		spec := containerd.PodSpec{
			Namespace: "shop", Name: "web-6d4cf-x2x7k",
			Annotations: map[string]string{"traffic.sidecar.istio.io/includeOutboundIPRanges": "198.51.100.0/24", "note": "ä\n\"'"},
			Labels:      map[string]string{"app": "web", "pod-template-hash": "6d4cf"},
			Servers:     []string{"192.0.2.53", "2001:db8::53"}, Searches: []string{"shop.svc.cluster.local", "cluster.local"},
		}
		web := c.Pod(spec)
		host := c.Pod(containerd.PodSpec{Namespace: "kube-system", Name: "agent", HostNetwork: true})
		all, err := client.Sandboxes(t.Context())
		must(t, err)
		byID := map[string]cri.Sandbox{}
		for _, s := range all {
			byID[s.ID] = s
		}
		if len(byID) != 2 {
			t.Fatalf("sandboxes %+v, want two", all)
		}
		s := byID[web.ID]
		if s.Pod.Namespace != "shop" || s.Pod.Name != spec.Name || s.Pod.UID != "uid-"+spec.Name || s.Pod.Workload != "web" || s.HostNetwork {
			t.Errorf("pod %+v", s.Pod)
		}
		for _, m := range []struct{ want, got map[string]string }{{spec.Annotations, s.Pod.Annotations}, {spec.Labels, s.Pod.Labels}} {
			for k, v := range m.want {
				if m.got[k] != v {
					t.Errorf("%s is %q, want %q", k, m.got[k], v)
				}
			}
		}
		if want := (selection.DNS{Servers: spec.Servers, Searches: spec.Searches}); s.DNS == nil || !slices.Equal(s.DNS.Servers, want.Servers) || !slices.Equal(s.DNS.Searches, want.Searches) {
			t.Errorf("DNS %+v, want %+v", s.DNS, want)
		}
		if len(s.Addresses) != 1 || s.Addresses[0] != netip.MustParseAddr(web.IP) {
			t.Errorf("addresses %v, want %s", s.Addresses, web.IP)
		}
		sameFile(t, s.Netns, procNetns(s.PID))
		if h := byID[host.ID]; !h.HostNetwork || h.Netns != "" {
			t.Errorf("a pod in the host's network: %+v", h)
		}

		must(t, web.Stop())
		if all, err := client.Sandboxes(t.Context()); err != nil || len(all) != 1 || all[0].ID != host.ID {
			t.Errorf("after one has stopped: %+v, %v", all, err)
		}
		c.Kill()
		if _, err := client.Sandboxes(t.Context()); err == nil || !strings.Contains(err.Error(), c.Socket) {
			t.Errorf("without a runtime: %v; want an error that names the socket", err)
		}
		c.Run()
		await.True(t, "the restarted runtime tells of its pods", func() bool {
			all, err := client.Sandboxes(t.Context())
			return err == nil && len(all) == 1
		})
	})
}

func procNetns(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "ns/net") }

// sameFile compares files by device and inode.
func sameFile(t *testing.T, a, b string) {
	t.Helper()
	first, err := os.Stat(a)
	must(t, err)
	second, err := os.Stat(b)
	must(t, err)
	if !os.SameFile(first, second) {
		t.Errorf("%s and %s are not the same", a, b)
	}
}
