// Package tiers has the scenarios that every tier of the end-to-end tests runs: what a pod
// does and what must become of it, each written once. A tier is a way to have pods:
//
//   - T1 (e2e/node): network namespaces, and the plugin called by libcni
//   - T2 (e2e/node): containerd, through CRI
//   - T3 (e2e/cluster/suite): Kubernetes, by kubectl; also kind, and any cluster
//
// The internet of all of them has httpbin.org and www.google.com, acted or real.
package tiers
