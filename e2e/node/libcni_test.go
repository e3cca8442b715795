package node

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/e2e/tiers"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// The first tier: pods are network namespaces, and libcni calls the plugins for them, as
// cnitool does.
func TestTheScenariosWithLibcni(t *testing.T) {
	needsRoot(t)
	n := newTierNode(t, stage.Options{Runtime: true})
	confs := t.TempDir()
	writeList(t, confs, programs.Runtime{Version: programs.Containerd2}, n.Entry)
	list, err := libcni.ConfListFromFile(filepath.Join(confs, "10-podnet.conflist"))
	must(t, err)
	cni := libcni.NewCNIConfigWithCacheDir([]string{cnitest.Folder()}, t.TempDir(), nil)
	n.pod = func(t *testing.T, name string, annotations map[string]string) (tiers.Pod, error) {
		return newNamespacePod(t, n, cni, list, name, annotations)
	}
	n.run(t)
}

// namespacePod is a network namespace in which programs of this machine run.
type namespacePod struct {
	t   *testing.T
	ns  *lab.Namespace
	dir string
}

func newNamespacePod(t *testing.T, n *tierNode, cni *libcni.CNIConfig, list *libcni.NetworkConfigList, name string, annotations map[string]string) (tiers.Pod, error) {
	t.Helper()
	path := filepath.Join("/run/netns", name)
	ns, err := lab.NewAt(path)
	must(t, err)
	t.Cleanup(func() { must(t, ns.Close()) })
	runtime := &libcni.RuntimeConf{
		ContainerID: strings.ReplaceAll(t.Name(), "/", "-") + "-" + name, NetNS: path, IfName: "eth0",
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", name}},
		CapabilityArgs: map[string]any{
			"io.kubernetes.cri.pod-annotations": annotations,
			"dns":                               map[string]any{"servers": []string{egress.DNS}},
		},
	}
	t.Cleanup(func() { // a runtime does so for those that failed, too
		must(t, cni.DelNetworkList(context.Background(), list, runtime))
	})
	result, err := cni.AddNetworkList(t.Context(), list, runtime)
	if err != nil {
		return nil, err
	}
	r, err := types100.NewResultFromResult(result)
	must(t, err)
	if len(r.IPs) != 1 {
		return nil, fmt.Errorf("pod %s has the addresses %v", name, r.IPs)
	}
	address, _ := netip.AddrFromSlice(r.IPs[0].Address.IP)
	known := n.Adopt(name, path, address.Unmap(), annotations)
	known.Known(true)
	t.Cleanup(func() { known.Known(false) })
	return &namespacePod{t: t, ns: ns, dir: t.TempDir()}, nil
}

func (p *namespacePod) Bash(commands string) (string, error) {
	cmd := exec.CommandContext(p.t.Context(), "bash", "-c", commands)
	cmd.Dir, cmd.Env = p.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir}
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	// All that it has started ends with the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := p.ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, log.String())
	}
	return out.String(), err
}

func (p *namespacePod) Started() string { return "" } // there is nothing that could start
