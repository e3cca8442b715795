// Package cluster is about sluice in all nodes of a cluster, where it is DaemonSets: on how
// many nodes they are ready, and how it is taken out of every node.
//
// What is seen is judged without asking anybody (pods.go, ready.go, step.go); Look and
// Uninstall.Run ask the API server.
package cluster
