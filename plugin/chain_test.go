package plugin_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/plugin/cnitest"
	"golang.org/x/sys/unix"
)

// attachment is a pod on a host of its own, joined by a real chain: the first
// plugin makes the interface, host-local its addresses, sluice-cni the rules.
type attachment struct {
	host, pod *lab.Namespace
	list      *libcni.NetworkConfigList
	cni       *libcni.CNIConfig
	runtime   *libcni.RuntimeConf
}

func attach(t *testing.T, version, first, family string) *attachment {
	t.Helper()
	a := &attachment{host: labtest.New(t), pod: pod(t)}
	noDuplicateAddressDetection(t, a.host, a.pod)
	if err := a.pod.Do(lowerLoopback); err != nil {
		t.Fatal(err)
	}
	list, err := libcni.ConfListFromBytes([]byte(conflist(t, version, first, family)))
	if err != nil {
		t.Fatal(err)
	}
	a.list = list
	a.cni = libcni.NewCNIConfigWithCacheDir([]string{cnitest.Folder()}, t.TempDir(), nil)
	a.runtime = &libcni.RuntimeConf{ContainerID: "pod", NetNS: a.pod.Path(), IfName: "eth0",
		Args: [][2]string{{"K8S_POD_NAME", "a"}, {"UNKNOWN", "b"}, {"IgnoreUnknown", "1"}}}
	return a
}

func conflist(t *testing.T, version, first, family string) string {
	t.Helper()
	ranges := map[string]string{
		"v4":   `[{"subnet":"10.9.0.0/24"}]`,
		"v6":   `[{"subnet":"fd09::/64"}]`,
		"dual": `[{"subnet":"10.9.0.0/24"}],[{"subnet":"fd09::/64"}]`,
	}[family]
	routes := map[string]string{
		"v4": `{"dst":"0.0.0.0/0"}`, "v6": `{"dst":"::/0"}`, "dual": `{"dst":"0.0.0.0/0"},{"dst":"::/0"}`,
	}[family]
	return fmt.Sprintf(`{"cniVersion":%q,"name":"podnet","plugins":[
		{"type":%q,"isGateway":true,"ipam":{"type":"host-local","dataDir":%q,"ranges":[%s],"routes":[%s]}},
		{"type":"sluice-cni","includeIPRanges":"203.0.113.0/24,2001:db8::/32","excludeIPRanges":"203.0.113.128/25"}]}`,
		version, first, t.TempDir(), ranges, routes)
}

// noDuplicateAddressDetection saves the two seconds an IPv6 address takes else.
func noDuplicateAddressDetection(t *testing.T, namespaces ...*lab.Namespace) {
	t.Helper()
	for _, n := range namespaces {
		if err := n.Do(func() error { return lab.Sysctl("net/ipv6/conf/default/accept_dad", "0") }); err != nil {
			t.Fatal(err)
		}
	}
}

// do runs a verb on the host, within a bound.
func (a *attachment) do(verb func(context.Context) error) error {
	return a.host.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		defer cancel()
		return verb(ctx)
	})
}

func (a *attachment) add() (result *types100.Result, err error) {
	err = a.do(func(ctx context.Context) error {
		r, err := a.cni.AddNetworkList(ctx, a.list, a.runtime)
		if err != nil {
			return err
		}
		result, err = types100.NewResultFromResult(r)
		return err
	})
	return result, err
}

func (a *attachment) check() error {
	return a.do(func(ctx context.Context) error { return a.cni.CheckNetworkList(ctx, a.list, a.runtime) })
}

func (a *attachment) del() error {
	return a.do(func(ctx context.Context) error { return a.cni.DelNetworkList(ctx, a.list, a.runtime) })
}

func TestTheWholeChainInEveryVersionAndFamily(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		for _, first := range []string{"ptp", "bridge"} {
			for _, family := range []string{"v4", "v6", "dual"} {
				t.Run(strings.Join([]string{version, first, family}, "/"), func(t *testing.T) {
					t.Parallel()
					attach(t, version, first, family).lifecycle(t, version, family)
				})
			}
		}
	}
}

func (a *attachment) lifecycle(t *testing.T, version, family string) {
	for round := range 2 { // ADD again after DEL too
		result, err := a.add()
		if err != nil {
			t.Fatal("ADD: ", err)
		}
		if want := map[string]int{"v4": 1, "v6": 1, "dual": 2}[family]; len(result.IPs) != want || len(result.Interfaces) < 2 {
			t.Errorf("the chain's result lost something: %+v", result)
		}
		if version != "0.3.1" {
			if err := a.check(); err != nil {
				t.Error("CHECK: ", err)
			}
		}
		if round == 0 {
			a.capturesWhatItShould(t, family)
		}
		if version == "1.1.0" {
			a.statusAndGC(t)
		}
		for range 2 {
			if err := a.del(); err != nil {
				t.Fatal("DEL: ", err)
			}
		}
		if left := tables(t, a.pod); len(left) > 0 {
			t.Errorf("DEL left %v", left)
		}
	}
	a.runtime.NetNS = ""
	if err := a.del(); err != nil {
		t.Error("DEL without a namespace: ", err)
	}
}

func (a *attachment) statusAndGC(t *testing.T) {
	t.Helper()
	if err := a.do(func(ctx context.Context) error { return a.cni.GetStatusNetworkList(ctx, a.list) }); err != nil {
		t.Error("STATUS: ", err)
	}
	keep := &libcni.GCArgs{ValidAttachments: nil}
	if err := a.do(func(ctx context.Context) error { return a.cni.GCNetworkList(ctx, a.list, keep) }); err != nil {
		t.Error("GC: ", err)
	}
}

// capturesWhatItShould listens where the proxy would and on the host, and looks
// who gets a connection to an included and to an excluded address.
func (a *attachment) capturesWhatItShould(t *testing.T, family string) {
	t.Helper()
	proxy, err := a.pod.Listen("tcp", ":15001")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	var included []string
	if family != "v6" {
		included = append(included, "203.0.113.9")
	}
	if family != "v4" {
		included = append(included, "2001:db8::9")
	}
	for _, addr := range included {
		if got := a.acceptedBy(t, proxy, addr); got != "captured" {
			t.Errorf("%s: %s", addr, got)
		}
	}
	if family == "v6" {
		return
	}
	err = a.host.Do(func() error { return lab.AddAddress("lo", netip.MustParsePrefix("203.0.113.200/32")) })
	if err != nil {
		t.Fatal(err)
	}
	if got := a.acceptedBy(t, proxy, "203.0.113.200"); got != "not captured" {
		t.Errorf("excluded address: %s", got)
	}
}

// acceptedBy dials a port nobody listens on: captured, the proxy has it; not
// captured, it is refused.
func (a *attachment) acceptedBy(t *testing.T, proxy net.Listener, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	c, err := a.pod.Dial(ctx, "tcp", net.JoinHostPort(addr, "80"))
	if err != nil {
		if strings.Contains(err.Error(), "connection refused") {
			return "not captured"
		}
		return err.Error()
	}
	defer c.Close()
	accepted, err := proxy.Accept()
	if err != nil {
		return err.Error()
	}
	accepted.Close()
	return "captured"
}

func TestAFailedAddIsUndoneByTheRuntimesDel(t *testing.T) {
	t.Parallel()
	a := attach(t, "1.0.0", "ptp", "v4")
	bad, err := libcni.ConfListFromBytes([]byte(strings.Replace(conflist(t, "1.0.0", "ptp", "v4"), "203.0.113.0/24", "203.0.113.0/99", 1)))
	if err != nil {
		t.Fatal(err)
	}
	a.list = bad
	if _, err := a.add(); err == nil || !strings.Contains(err.Error(), `includeIPRanges element 1 "203.0.113.0/99"`) {
		t.Errorf("ADD with a bad range: %v", err)
	}
	if err := a.del(); err != nil {
		t.Error(err)
	}
	if left := tables(t, a.pod); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestADropInFolderChainsThePlugin(t *testing.T) {
	t.Parallel()
	a := attach(t, "1.1.0", "bridge", "v4")
	dir := t.TempDir()
	list := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"podnet","plugins":[{"type":"bridge","ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.9.0.0/24"}]]}}]}`, t.TempDir())
	write(t, filepath.Join(dir, "10-podnet.conflist"), list)
	write(t, filepath.Join(dir, "podnet", "50-sluice.conf"), `{"type":"sluice-cni","includeIPRanges":["203.0.113.0/24"]}`)
	loaded, err := libcni.LoadNetworkConf(dir, "podnet")
	if err != nil {
		t.Fatal(err)
	}
	a.list = loaded
	if _, err := a.add(); err != nil {
		t.Fatal(err)
	}
	if err := a.check(); err != nil {
		t.Error(err)
	}
	if got := tables(t, a.pod); fmt.Sprint(got) != "[sluice sluice]" {
		t.Errorf("tables %v", got)
	}
}

func TestCnitoolAddsChecksAndDeletes(t *testing.T) {
	t.Parallel()
	a := attach(t, "1.0.0", "ptp", "dual")
	// cnitool keeps results in /var/lib/cni and takes no other folder. The mount
	// is seen in the test's own mount namespace only.
	if err := unix.Mount("sluice-test", "/var/lib", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "10-podnet.conflist"), conflist(t, "1.0.0", "ptp", "dual"))
	cnitool := func(verb string) error {
		cmd := exec.Command(filepath.Join(cnitest.Folder(), "cnitool"), verb, "podnet", a.pod.Path())
		cmd.Env = append(os.Environ(), "NETCONFPATH="+dir, "CNI_PATH="+cnitest.Folder())
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := a.host.Start(cmd); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("cnitool %s: %w\n%s", verb, err, &out)
		}
		return nil
	}
	for _, verb := range []string{"add", "check", "del", "add", "check", "del", "del"} {
		if err := cnitool(verb); err != nil {
			t.Fatal(err)
		}
	}
	if left := tables(t, a.pod); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
