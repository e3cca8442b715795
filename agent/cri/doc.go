// Package cri asks a container runtime (containerd, CRI-O) which pods run on the
// node, over its CRI socket: where each pod's network namespace is, what it is called,
// and what its author wrote. It changes nothing there.
//
//	c := cri.New("/run/containerd/containerd.sock")
//	pods, err := c.Sandboxes(ctx)
//
// A runtime lists a sandbox only after its network's ADD has returned, so whoever asks
// from within ADD waits for itself.
//
// The messages are read field by field (agent/cri/unary, docs/decisions); the numbers
// are those of k8s.io/cri-api pkg/apis/runtime/v1/api.proto, version 1 of CRI, which
// containerd has from 1.6 and CRI-O from 1.20.
package cri
