package stage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// Pod is a network namespace at /run/netns/NAME with a cable to the node.
type Pod struct {
	Name, Namespace string
	Annotations     map[string]string
	NS              *lab.Namespace
	Address         netip.Addr

	node *Node
	path string // of NS, also when it is gone
	link string // the node's end of the cable, which is there as long as the namespace
}

// Pod makes a namespace and its cable. No plugin has run yet. "" is a name that no
// other pod of this node has had.
func (n *Node) Pod(name string) (*Pod, error) {
	number := int(n.pods.Add(1))
	name = cmp.Or(name, fmt.Sprintf("pod-%d", number))
	path := filepath.Join("/run/netns", name)
	ns, err := lab.NewAt(path)
	if err != nil {
		return nil, err
	}
	id, err := os.Readlink(ns.FDPath())
	if err != nil {
		return nil, err
	}
	// Each cable is a network of four addresses: the second is the node's, the third the
	// pod's.
	base := netip.AddrFrom4([4]byte{10, byte(64 + number>>14), byte(number >> 6), byte(number << 2)})
	gateway := base.Next()
	p := &Pod{Name: name, Namespace: "default", NS: ns, Address: gateway.Next(), node: n, path: path, link: fmt.Sprintf("pod%d", number)}
	n.namespaces.Store(p.link, id)
	err = errors.Join(
		lab.Connect(
			lab.End{In: ns, Name: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(p.Address, 30)}},
			lab.End{In: n.ns, Name: p.link, Addresses: []netip.Prefix{netip.PrefixFrom(gateway, 30)}}),
		n.acquaint(p, gateway),
		ns.Do(func() error { return lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), gateway) }))
	if err != nil {
		ns.Close()
		return nil, err
	}
	return p, nil
}

// Adopt is a pod whose network others have made, in the namespace at path.
func (n *Node) Adopt(name, path string, address netip.Addr, annotations map[string]string) *Pod {
	return &Pod{Name: name, Namespace: "default", Annotations: annotations, Address: address, node: n, path: path}
}

// acquaint tells both ends of a pod's cable the other's hardware address for good. What
// the kernel resolves by itself counts against one limit for all namespaces of the
// machine (net.ipv4.neigh.default.gc_thresh3, 1024), which hundreds of pods exceed: then
// packets wait for seconds.
func (n *Node) acquaint(p *Pod, gateway netip.Addr) error {
	hardware := func(ns *lab.Namespace, name string) (mac net.HardwareAddr, err error) {
		err = ns.Do(func() error {
			link, err := netlink.LinkByName(name)
			if err == nil {
				mac = link.Attrs().HardwareAddr
			}
			return err
		})
		return mac, err
	}
	know := func(ns *lab.Namespace, name string, other netip.Addr, mac net.HardwareAddr) error {
		return ns.Do(func() error {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: other.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT})
		})
	}
	inside, err := hardware(p.NS, "eth0")
	if err != nil {
		return err
	}
	outside, err := hardware(n.ns, p.link)
	if err != nil {
		return err
	}
	return errors.Join(know(p.NS, "eth0", gateway, outside), know(n.ns, p.link, p.Address, inside))
}

// Failure is a CNI error object.
type Failure struct {
	Code    int    `json:"code"`
	Msg     string `json:"msg"`
	Details string `json:"details"`
	Log     string `json:"-"` // what the plugin said on standard error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("code %d: %s; %s\n%s", f.Code, f.Msg, f.Details, f.Log)
}

// cni runs the plugin as a runtime does, after a plugin that made the interface.
func (p *Pod) cni(verb, netns string) error {
	entry := map[string]any{}
	for k, v := range p.node.Entry {
		entry[k] = v
	}
	entry["cniVersion"], entry["name"], entry["type"] = "1.0.0", "podnet", "sluice-cni"
	entry["prevResult"] = map[string]any{
		"cniVersion": "1.0.0",
		"interfaces": []any{map[string]any{"name": "eth0", "sandbox": netns}},
		"ips":        []any{map[string]any{"address": netip.PrefixFrom(p.Address, 30).String(), "interface": 0}},
	}
	entry["runtimeConfig"] = map[string]any{
		"io.kubernetes.cri.pod-annotations": p.Annotations,
		"dns":                               map[string]any{"servers": []string{p.node.o.Resolver}},
	}
	stdin, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(cnitest.Folder(), "sluice-cni"))
	cmd.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + p.Name, "CNI_IFNAME=eth0", "CNI_NETNS=" + netns, "CNI_PATH=" + cnitest.Folder(),
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=" + p.Namespace + ";K8S_POD_NAME=" + p.Name}
	cmd.Stdin = bytes.NewReader(stdin)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		f := &Failure{Log: log.String()}
		if json.Unmarshal(out.Bytes(), f) != nil || f.Code == 0 {
			return fmt.Errorf("%s: %w\n%s%s", verb, err, out.String(), log.String())
		}
		return f
	}
	return nil
}

// Add runs the plugin's ADD; a *Failure is its own error.
func (p *Pod) Add() error { return p.cni("ADD", p.path) }

// Check runs CHECK.
func (p *Pod) Check() error { return p.cni("CHECK", p.path) }

// Delete does what a runtime does at a pod's end: DEL, the namespace, and DEL again
// without one.
func (p *Pod) Delete() error {
	return errors.Join(p.cni("DEL", p.path), p.NS.Close(), p.cni("DEL", ""))
}

// Vanish takes the namespace away without DEL, as a reboot does.
func (p *Pod) Vanish() error { return p.NS.Close() }

// Command is a command of the tests' program, to be started in the pod. It dies with
// the test.
func (p *Pod) Command(args ...string) *exec.Cmd {
	return exec.Command(programs.InContainer(), args...)
}

// Do makes one connection from within the pod, as a process of its own.
func (p *Pod) Do(t load.Target, patience time.Duration) error {
	l, err := p.Load(load.Spec{PerSecond: 1000, Targets: []load.Target{t}, Patience: patience, Count: 1})
	if err != nil {
		return err
	}
	r, err := l.Stop()
	switch {
	case err != nil:
		return err
	case len(r.Failures) > 0:
		return &Failed{r.Failures[0]}
	}
	return nil
}

// Failed is a connection that failed, as an error.
type Failed struct{ load.Failure }

func (f *Failed) Error() string { return f.What + ": " + f.Failure.Error }

// Load is a running load generator.
type Load struct {
	Pod *Pod
	cmd *exec.Cmd
	in  *os.File
	out bytes.Buffer
	log bytes.Buffer
}

// Load starts making connections from within the pod.
func (p *Pod) Load(s load.Spec) (*Load, error) {
	spec, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l := &Load{Pod: p, cmd: p.Command("load"), in: w}
	l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr = r, &l.out, &l.log
	if err := p.NS.Start(l.cmd); err != nil {
		w.Close()
		return nil, err
	}
	_, err = w.Write(append(spec, '\n'))
	return l, err
}

// End tells it to begin nothing more; Stop waits for what it has under way.
func (l *Load) End() { l.in.Close() }

// Stop ends it and returns what came of it.
func (l *Load) Stop() (r load.Result, err error) {
	l.in.Close()
	if err := l.cmd.Wait(); err != nil {
		return r, fmt.Errorf("the load from %s: %w\n%s", l.Pod.Name, err, l.log.String())
	}
	return r, json.Unmarshal(l.out.Bytes(), &r)
}

// Node is where the pod is.
func (p *Pod) Node() *Node { return p.node }
