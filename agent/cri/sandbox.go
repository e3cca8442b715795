package cri

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/agent/cri/unary"
	"github.com/sluice-cni/sluice/selection"
)

// Sandbox is a pod that a runtime has running.
type Sandbox struct {
	ID  string // the container ID of the pod's ADD
	Pod selection.Pod
	// Netns is the path of the network namespace as the runtime's mount namespace has
	// it, and PID a process inside; "" and 0 where the runtime does not say. Both may be
	// gone by the time one looks: compare what one finds.
	Netns string
	PID   int
	// HostNetwork: the pod has no network namespace of its own.
	HostNetwork bool
	// DNS is what the pod's resolv.conf is made from; nil where the runtime does not
	// say.
	DNS       *selection.DNS
	Addresses []netip.Addr
}

// askTime is how long a runtime may take to tell of one sandbox. One whose shim hangs
// must not keep the others' from being told.
const askTime = 2 * time.Second

// Sandboxes are the pods that run, in the runtime's order; those that it could not tell
// of the last time come last. One that went away while
// they were asked about is left out. What was told of a sandbox before is not asked
// again: it cannot change. An error is of those that the runtime could not tell of; the
// others are there all the same.
func (c *Client) Sandboxes(ctx context.Context) ([]Sandbox, error) {
	ids, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	before, failed := c.known, c.failed
	c.mu.Unlock()
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(failed[a], failed[b]) })
	failed = map[string]int{}
	known := make(map[string]Sandbox, len(ids))
	all := make([]Sandbox, 0, len(ids))
	var errs []error
	for _, id := range ids {
		s, told := before[id]
		if !told {
			s, err = c.sandbox(ctx, id)
			if unary.NotFound(err) {
				continue
			}
			if err != nil {
				failed[id] = 1
				errs = append(errs, fmt.Errorf("sandbox %s: %w", id, err))
				continue
			}
		}
		known[id] = s
		all = append(all, s)
	}
	c.mu.Lock()
	c.known, c.failed = known, failed
	c.mu.Unlock()
	return all, errors.Join(errs...)
}

// ready are the IDs of all sandboxes that are ready. The state's number is 0, which a
// filter of that state leaves unwritten: a message that says nothing.
func (c *Client) ready(ctx context.Context) (ids []string, err error) {
	answer, err := c.call(ctx, "ListPodSandbox", unary.Message(1, unary.Message(2)))
	if err != nil {
		return nil, err
	}
	err = unary.Fields(answer, func(item unary.Field) error {
		if item.Number != 1 {
			return nil
		}
		return unary.Fields(item.Bytes, func(f unary.Field) error {
			if f.Number == 1 {
				ids = append(ids, string(f.Bytes))
			}
			return nil
		})
	})
	return ids, err
}

func (c *Client) sandbox(ctx context.Context, id string) (Sandbox, error) {
	s := Sandbox{ID: id}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := c.call(ctx, "PodSandboxStatus", unary.Join(unary.Text(1, id), unary.Number(2, 1))) // verbose
	if err != nil {
		return s, err
	}
	err = unary.Fields(answer, func(f unary.Field) error {
		if f.Number == 1 {
			return s.status(f.Bytes)
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	info, err := infoOf(answer)
	if err != nil {
		return s, err
	}
	s.verbose(info["info"])
	s.Pod.Workload = owner(s.Pod.Name, s.Pod.Labels)
	return s, nil
}

// status reads the message PodSandboxStatus.
func (s *Sandbox) status(message []byte) error {
	return unary.Fields(message, func(f unary.Field) error {
		switch f.Number {
		case 2:
			return s.metadata(f.Bytes)
		case 5:
			return s.network(f.Bytes)
		case 6:
			return s.namespaces(f.Bytes)
		case 7:
			return unary.Entry(f.Bytes, &s.Pod.Labels)
		case 8:
			return unary.Entry(f.Bytes, &s.Pod.Annotations)
		}
		return nil
	})
}

func (s *Sandbox) metadata(message []byte) error {
	return unary.Fields(message, func(f unary.Field) error {
		switch f.Number {
		case 1:
			s.Pod.Name = string(f.Bytes)
		case 2:
			s.Pod.UID = string(f.Bytes)
		case 3:
			s.Pod.Namespace = string(f.Bytes)
		}
		return nil
	})
}

// network reads PodSandboxNetworkStatus: the address, and further ones in messages of
// their own.
func (s *Sandbox) network(message []byte) error {
	return unary.Fields(message, func(f unary.Field) error {
		switch f.Number {
		case 1:
			s.address(f.Bytes)
		case 2:
			return unary.Fields(f.Bytes, func(f unary.Field) error {
				if f.Number == 1 {
					s.address(f.Bytes)
				}
				return nil
			})
		}
		return nil
	})
}

func (s *Sandbox) address(text []byte) {
	if a, err := netip.ParseAddr(string(text)); err == nil {
		s.Addresses = append(s.Addresses, a)
	}
}

// networkOfNode is NamespaceMode NODE.
const networkOfNode = 2

// namespaces reads LinuxPodSandboxStatus.namespaces.options.network.
func (s *Sandbox) namespaces(message []byte) error {
	return unary.Fields(message, func(f unary.Field) error {
		if f.Number != 1 {
			return nil
		}
		return unary.Fields(f.Bytes, func(f unary.Field) error {
			if f.Number != 2 {
				return nil
			}
			return unary.Fields(f.Bytes, func(f unary.Field) error {
				if f.Number == 1 {
					s.HostNetwork = f.Value == networkOfNode
				}
				return nil
			})
		})
	})
}
