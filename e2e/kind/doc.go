// Package kind runs sluice in a cluster that kind makes, on a machine without a container
// registry or with one:
//
//	make e2e-kind
//	make e2e-kind KIND_NODE_IMAGE=REGISTRY/kindest/node:v1.36.0
//
// Without KIND_NODE_IMAGE the node's image is e2e/kind/nodeimage's, and nothing is pulled.
// Podman, which is not installed, runs the node in a world (lab.World): network, rules,
// mounts and processes are the world's and end with it, and cgroups have one place.
package kind
