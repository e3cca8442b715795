// Package source tests kubeapi and mesh/kube against a real API server: what the one in
// memory (kubeapi/apitest) only imitates.
package source
