package main

import (
	"fmt"
	"os"

	"github.com/sluice-cni/sluice/agent/cri"
	"github.com/sluice-cni/sluice/install"
)

// criSockets are where container runtimes listen, in the order in which they are
// looked for.
var criSockets = []string{"/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock", "/run/crio/crio.sock"}

// findCRI is the runtime's socket that a flag names: "" is the first that is there,
// off is none.
func findCRI(flag string) (string, error) {
	switch flag {
	case "off":
		return "", nil
	case "":
		for _, path := range criSockets {
			if isSocket(path) {
				return path, nil
			}
		}
		return "", nil
	}
	if !isSocket(flag) {
		return "", usage(fmt.Errorf("--cri %q: is no socket", flag), "name the container runtime's socket, or off")
	}
	return flag, nil
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeSocket != 0
}

// criRuntime is what the installer asks; nil for nobody. done ends it.
func criRuntime(flag string) (runtime install.Runtime, done func(), err error) {
	path, err := findCRI(flag)
	if err != nil || path == "" {
		return nil, func() {}, err
	}
	c := cri.New(path)
	return c, c.Close, nil
}
