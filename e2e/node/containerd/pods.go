package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-cni/sluice/agent/cri/unary"
)

// PodSpec is as much of a pod as a kubelet tells a runtime before its containers.
type PodSpec struct {
	Namespace, Name     string // "default" where Namespace is empty
	Annotations, Labels map[string]string
	Servers, Searches   []string // of its resolv.conf
	HostNetwork         bool
}

// Pod is a running sandbox.
type Pod struct {
	ID, IP string
	Spec   PodSpec
	c      *Containerd
}

const service = "runtime.v1.RuntimeService/"

func (c *Containerd) call(method string, request ...[]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.client.Call(ctx, service+method, unary.Join(request...))
}

// sandboxConfig is the message PodSandboxConfig.
func (c *Containerd) sandboxConfig(s PodSpec) []byte {
	network, hostname := uint64(0), s.Name // of the pod
	if s.HostNetwork {
		network, hostname = 2, "" // of the node
	}
	return unary.Join(
		unary.Message(1, unary.Text(1, s.Name), unary.Text(2, "uid-"+s.Name), unary.Text(3, s.Namespace), unary.Number(4, 1)),
		unary.Text(2, hostname),
		unary.Text(3, c.root+"/podlogs"),
		unary.Message(4, unary.Text(1, s.Servers...), unary.Text(2, s.Searches...)),
		unary.Map(6, s.Labels),
		unary.Map(7, s.Annotations),
		unary.Message(8, unary.Text(1, c.CgroupParent), unary.Message(2, unary.Message(1, unary.Number(1, network)))),
	)
}

// TryPod runs a sandbox, which takes the CNI's ADD.
func (c *Containerd) TryPod(s PodSpec) (*Pod, error) {
	if s.Namespace == "" {
		s.Namespace = "default"
	}
	answer, err := c.call("RunPodSandbox", unary.Message(1, c.sandboxConfig(s)))
	if err != nil {
		return nil, err
	}
	p := &Pod{Spec: s, c: c}
	if err := unary.Fields(answer, func(f unary.Field) error {
		if f.Number == 1 {
			p.ID = string(f.Bytes)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	p.IP, err = p.ip()
	return p, err
}

// Pod is TryPod for sandboxes that must come up.
func (c *Containerd) Pod(s PodSpec) *Pod {
	c.t.Helper()
	p, err := c.TryPod(s)
	must(c.t, err)
	return p
}

// ip is PodSandboxStatusResponse.status.network.ip.
func (p *Pod) ip() (ip string, err error) {
	answer, err := p.c.call("PodSandboxStatus", unary.Text(1, p.ID))
	if err != nil {
		return "", err
	}
	return ip, path(answer, &ip, 1, 5, 1)
}

// path follows fields into a message and sets what it finds at their end.
func path(message []byte, into *string, numbers ...int) error {
	return unary.Fields(message, func(f unary.Field) error {
		switch {
		case f.Number != numbers[0]:
			return nil
		case len(numbers) > 1:
			return path(f.Bytes, into, numbers[1:]...)
		}
		*into = string(f.Bytes)
		return nil
	})
}

// Stop is StopPodSandbox: the CNI's DEL.
func (p *Pod) Stop() error { return p.c.StopPod(p.ID) }

// StopPod is Stop for a sandbox that somebody else has run, by its ID.
func (c *Containerd) StopPod(id string) error {
	_, err := c.call("StopPodSandbox", unary.Text(1, id))
	return err
}

// Remove is Stop and RemovePodSandbox, as a kubelet does it: the CNI's DEL comes twice,
// the second time without a namespace.
func (p *Pod) Remove() error {
	if err := p.Stop(); err != nil {
		return err
	}
	_, err := p.c.call("RemovePodSandbox", unary.Text(1, p.ID))
	return err
}

func (c *Containerd) removeAll() error {
	answer, err := c.call("ListPodSandbox")
	if err != nil {
		return err
	}
	var errs []error
	err = unary.Fields(answer, func(f unary.Field) error {
		p := Pod{c: c}
		if err := path(f.Bytes, &p.ID, 1); err != nil {
			return err
		}
		errs = append(errs, p.Remove())
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// Capabilities are those that a container has beyond, and not of, the runtime's
// default ones.
type Capabilities struct{ Add, Drop []string }

// Container starts a container that does nothing (Run runs programs in it) and
// returns its ID.
func (p *Pod) Container(name string, caps Capabilities) (id string, err error) {
	return p.ContainerOf(Image, name, caps)
}

// ContainerOf is Container of another image, which has been imported.
func (p *Pod) ContainerOf(image, name string, caps Capabilities) (id string, err error) {
	config := unary.Join(
		unary.Message(1, unary.Text(1, name)),
		unary.Message(2, unary.Text(1, image)),
		unary.Text(11, name+".log"),
		unary.Message(15, unary.Message(2, unary.Message(1, unary.Text(1, caps.Add...), unary.Text(2, caps.Drop...)))),
	)
	answer, err := p.c.call("CreateContainer", unary.Text(1, p.ID), unary.Message(2, config), unary.Message(3, p.c.sandboxConfig(p.Spec)))
	if err != nil {
		return "", err
	}
	if err := path(answer, &id, 1); err != nil {
		return "", err
	}
	_, err = p.c.call("StartContainer", unary.Text(1, id))
	return id, err
}

// Output is what a command in a container wrote, and its exit code.
type Output struct {
	Out, Err string
	Code     int
}

// Run runs a program of the image in a container.
func (p *Pod) Run(container, program string, args ...string) (Output, error) {
	var o Output
	answer, err := p.c.call("ExecSync", unary.Text(1, container), unary.Text(2, append([]string{"/" + program}, args...)...),
		unary.Number(3, uint64(patience/time.Second)))
	if err != nil {
		return o, err
	}
	return o, unary.Fields(answer, func(f unary.Field) error {
		switch f.Number {
		case 1:
			o.Out = string(f.Bytes)
		case 2:
			o.Err = string(f.Bytes)
		case 3:
			o.Code = int(f.Value)
		}
		return nil
	})
}

// NetworkReady waits until the runtime has read a network configuration.
func (c *Containerd) NetworkReady() {
	c.t.Helper()
	c.eventually("the runtime has a network", func(ctx context.Context) error {
		answer, err := c.client.Call(ctx, service+"Status", nil)
		if err != nil {
			return err
		}
		ready := false
		err = unary.Fields(answer, func(status unary.Field) error {
			if status.Number != 1 {
				return nil
			}
			return unary.Fields(status.Bytes, func(condition unary.Field) error {
				var kind string
				holds := false
				err := unary.Fields(condition.Bytes, func(f unary.Field) error {
					switch f.Number {
					case 1:
						kind = string(f.Bytes)
					case 2:
						holds = f.Value != 0
					}
					return nil
				})
				ready = ready || kind == "NetworkReady" && holds
				return err
			})
		})
		if err == nil && !ready {
			err = fmt.Errorf("condition NetworkReady: %w", errNotYet)
		}
		return err
	})
}
