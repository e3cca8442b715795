package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/sluice-cni/sluice/internal/lab"
)

// pod is a network namespace that was attached by the chain, with a proxy in it.
type pod struct {
	namespace *lab.Namespace
	list      *libcni.NetworkConfigList
	runtime   *libcni.RuntimeConf
	cni       *libcni.CNIConfig
	messages  *bytes.Buffer // what the plugins wrote to standard error
	attached  bool
	address   string
	proxy     *proxyProcess
}

// attach makes a pod whose traffic to ranges goes to a proxy of its own.
func (w *world) attachPod(ctx context.Context, ranges string) error {
	w.podCount++
	name := fmt.Sprintf("sleep-%d", w.podCount)
	n, err := lab.NewAt("/run/netns/" + name)
	if err != nil {
		return err
	}
	mark := randomMark()
	p := &pod{namespace: n, messages: &bytes.Buffer{}}
	w.pod = p
	p.list, err = libcni.NetworkConfFromBytes(conflist(ranges, mark))
	if err != nil {
		return fmt.Errorf("the demo's own conflist: %w", err)
	}
	p.cni = libcni.NewCNIConfigWithCacheDir(w.options.PluginDirs, filepath.Join(root, "cni/cache"), &invoke.DefaultExec{
		RawExec:       &invoke.RawExec{Stderr: p.messages},
		PluginDecoder: version.PluginDecoder{},
	})
	p.runtime = &libcni.RuntimeConf{ContainerID: name, NetNS: n.Path(), IfName: "eth0"}
	result, err := p.cni.AddNetworkList(ctx, p.list, p.runtime)
	if err != nil {
		return fmt.Errorf("ADD: %w", explainCNI(err))
	}
	p.attached = true
	if p.address, err = firstAddress(result); err != nil {
		return err
	}
	if err := p.cni.CheckNetworkList(ctx, p.list, p.runtime); err != nil {
		return fmt.Errorf("CHECK: %w", explainCNI(err))
	}
	p.proxy, err = w.startProxy(ctx, n, mark)
	return err
}

// detachPod ends the proxy and runs DEL. The namespace stays for a last look.
func (w *world) detachPod(ctx context.Context) error {
	p := w.pod
	if p == nil {
		return nil
	}
	var errs []error
	if p.proxy != nil {
		errs = append(errs, p.proxy.stop())
		p.proxy = nil
	}
	if p.attached {
		p.attached = false
		if err := p.cni.DelNetworkList(ctx, p.list, p.runtime); err != nil {
			errs = append(errs, fmt.Errorf("DEL: %w", explainCNI(err)))
		}
	}
	return errors.Join(errs...)
}

// removePod deletes the pod, attached or not.
func (w *world) removePod(ctx context.Context) error {
	if w.pod == nil {
		return nil
	}
	err := errors.Join(w.detachPod(ctx), w.pod.namespace.Close())
	w.pod = nil
	return err
}

// conflist is the chain: a cable, an address, then sluice.
func conflist(ranges string, mark uint32) []byte {
	type object = map[string]any
	data, err := json.MarshalIndent(object{
		"cniVersion": "1.0.0",
		"name":       "sluice-demo",
		"plugins": []object{
			{
				"type": "ptp",
				"ipam": object{
					"type":    "host-local",
					"dataDir": filepath.Join(root, "cni/addresses"),
					"ranges":  [][]object{{{"subnet": podSubnet}}},
					"routes":  []object{{"dst": everywhere.String()}},
				},
			},
			sluiceConf(ranges, mark),
		},
	}, "", "  ")
	if err != nil {
		panic(err) // a literal cannot fail to encode
	}
	return data
}

// sluiceConf is our plugin's part. One uid exists in an ordinary user's
// namespace, so the proxy is told from the pod by a mark.
func sluiceConf(ranges string, mark uint32) map[string]any {
	return map[string]any{
		"type":            "sluice-cni",
		"includeIPRanges": ranges,
		"exemption":       "mark",
		"exemptMark":      formatMark(mark),
	}
}

func formatMark(mark uint32) string { return fmt.Sprintf("0x%08x", mark) }

// randomMark is known to the proxy and to nobody in the pod; never 0, which all
// other packets have.
func randomMark() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:]) | 1
}

func firstAddress(result types.Result) (string, error) {
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		return "", err
	}
	if len(r.IPs) == 0 {
		return "", errors.New("ADD: the chain gave the pod no address")
	}
	return r.IPs[0].Address.String(), nil
}

// explainCNI gives the whole of a plugin's error: Error leaves the details out.
func explainCNI(err error) error {
	var e *types.Error
	if errors.As(err, &e) && e.Details != "" && !strings.Contains(e.Error(), e.Details) {
		return fmt.Errorf("%w (%s)", err, e.Details)
	}
	return err
}

// notices are the lines that the plugins wrote beside their results.
func (p *pod) notices() []string {
	var lines []string
	for line := range strings.Lines(p.messages.String()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, "note: "+line)
		}
	}
	return lines
}

const stopTimeout = 10 * time.Second
