package world

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// Addresses of the node's network.
const (
	NodeName = "node1" // as lab.World names the host
	NodeIP   = "172.30.0.2"
	Pods     = "10.244.0.0/16"
)

// Where the node has its CNI plugins and their configuration, as most nodes do; in the
// world both are empty folders of its own.
const (
	BinDir  = "/opt/cni/bin"
	ConfDir = "/etc/cni/net.d"
)

// Connect lays a cable between this machine, which is a world, and an internet, by which
// all that is not this machine's goes. It ends with the test.
func Connect(t testing.TB, n *egress.Internet) {
	t.Helper()
	here, err := lab.Current()
	must(t, err)
	t.Cleanup(func() { here.Close() })
	must(t, n.Connect(here, "node0", netip.MustParsePrefix("172.30.0.0/24"), netip.MustParsePrefix(Pods), netip.MustParsePrefix("0.0.0.0/0")))
}

// Sysctls are settings of the whole machine that a kubelet writes. It finds them as it
// wants them, in files of the world's own, and leaves the machine's alone.
var Sysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

func coverSysctls(t testing.TB, dir string) {
	t.Helper()
	for name, value := range Sysctls {
		own := filepath.Join(dir, "sysctl-"+filepath.Base(name))
		must(t, os.WriteFile(own, []byte(value+"\n"), 0o644))
		path := "/proc/sys/" + name
		must(t, unix.Mount(own, path, "", unix.MS_BIND, ""))
		t.Cleanup(func() { must(t, unix.Unmount(path, unix.MNT_DETACH)) })
	}
}

// network gives the node its plugins, and a configuration without sluice in it.
func network(t testing.TB) {
	t.Helper()
	must(t, os.MkdirAll(BinDir, 0o755))
	must(t, os.MkdirAll(ConfDir, 0o755))
	for _, name := range []string{"ptp", "bridge", "loopback", "host-local", "portmap"} {
		content, err := os.ReadFile(filepath.Join(cnitest.Folder(), name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(BinDir, name), content, 0o755))
	}
	conf, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0", "name": "podnet",
		"plugins": []any{
			map[string]any{"type": "ptp", "ipMasq": false, "ipam": map[string]any{
				"type":   "host-local",
				"ranges": [][]map[string]string{{{"subnet": "10.244.0.0/24"}}},
				"routes": []map[string]string{{"dst": "0.0.0.0/0"}},
			}},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(ConfDir, "10-podnet.conflist"), conf, 0o644))
	t.Cleanup(func() {
		for _, dir := range []string{BinDir, ConfDir, "/var/lib/cni"} {
			empty(dir)
		}
	})
}

// empty removes what is in a folder of the world that outlives a test.
func empty(dir string) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func file(t testing.TB, dir, name, content string, with ...any) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, fmt.Appendf(nil, content, with...), 0o644))
	return path
}
