// Package commands tests sluice's commands against a real API server: create, apply, get,
// delete and validate of a person with a kubeconfig, and `kubectl sluice`.
package commands
