package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/cgroups"
	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// runtimeOf starts a container runtime on a node. Its network is ptp with addresses of
// its own, portmap, and sluice-cni with the node's entry.
func runtimeOf(t *testing.T, n *stage.Node, r programs.Runtime) *containerd.Containerd {
	t.Helper()
	confs := t.TempDir()
	writeListOf(t, confs, r, n.Entry, n.IPv6)
	c := containerd.Start(t, r, cnitest.Folder(), confs, cgroups.Parent())
	c.NetworkReady()
	n.CRI = c.Socket
	return c
}

// writeList writes the network configuration list, with sluice-cni last where there is
// an entry for it.
func writeList(t *testing.T, dir string, r programs.Runtime, sluice map[string]any) {
	t.Helper()
	writeListOf(t, dir, r, sluice, false)
}

// writeListOf is writeList for pods with IPv6 too.
func writeListOf(t *testing.T, dir string, r programs.Runtime, sluice map[string]any, ipv6 bool) {
	t.Helper()
	version := "1.0.0" // the newest that containerd 1.6 takes
	if strings.HasPrefix(r.Version, "2.") {
		version = "1.1.0"
	}
	ranges, routes := [][]any{{map[string]string{"subnet": "10.244.0.0/24"}}}, []any{map[string]string{"dst": "0.0.0.0/0"}}
	if ipv6 { // not for every test: an ADD then takes two seconds, until nobody else has the address
		ranges, routes = append(ranges, []any{map[string]string{"subnet": "fd44::/64"}}), append(routes, map[string]string{"dst": "::/0"})
	}
	plugins := []any{
		map[string]any{"type": "ptp", "mtu": 1500, "ipMasq": false, "ipam": map[string]any{
			"type": "host-local", "dataDir": addressesInUse, "ranges": ranges, "routes": routes,
		}},
		map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
	}
	if sluice != nil {
		entry := map[string]any{"type": "sluice-cni"}
		for k, v := range sluice {
			entry[k] = v
		}
		plugins = append(plugins, entry)
	}
	list, err := json.Marshal(map[string]any{"cniVersion": version, "name": "podnet", "plugins": plugins})
	must(t, err)
	path := filepath.Join(dir, "10-podnet.conflist")
	must(t, os.WriteFile(path+".new", list, 0o644))
	must(t, os.Rename(path+".new", path))
}

// addressesInUse is where host-local keeps which addresses it has given out.
const addressesInUse = "/run/cni-ipam"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience bounds every wait of these tests. It is long since the machine may be busy.
const patience = time.Minute
