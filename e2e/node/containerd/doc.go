// Package containerd runs real containerd for the tests of a node: its configuration,
// images made by hand, and as much of a kubelet as it takes to run pods over CRI. It
// belongs into a world of its own (internal/lab): containerd, its shims and containers
// end with the world.
package containerd
