// Package cluster tests sluice in real Kubernetes (`make e2e`): world is a cluster of one
// node in namespaces of its own, quick an API server alone.
package cluster
