package main

import (
	"log/slog"
	"os"

	"github.com/sluice-cni/sluice/rules/iptables"
)

// useNodesPrograms has the node's iptables used from a container, which has none: they are
// for kernels without nf_tables. Process 1 is the node's where the container shares its
// PID namespace; else it is the container's own, and there is nothing to share.
func useNodesPrograms(log *slog.Logger) {
	const nodes = "/proc/1/ns/mnt"
	own, err1 := os.Stat("/proc/self/ns/mnt")
	theirs, err2 := os.Stat(nodes)
	if err1 != nil || err2 != nil || os.SameFile(own, theirs) {
		return
	}
	mounts, err := os.Open(nodes)
	if err != nil {
		log.Debug("the node's iptables cannot be used from here", "error", err)
		return
	}
	iptables.UseProgramsOf(mounts)
}
