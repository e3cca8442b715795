// Command sluice-cni is the CNI plugin. Container runtimes run it; the
// configuration it takes is described in docs/configuration.md.
package main

import (
	"os"
	"runtime/debug"

	"github.com/sluice-cni/sluice/plugin"
)

// version is set by the linker in `make build`.
var version = ""

func main() {
	os.Exit(plugin.Main("sluice-cni " + versionText() + ": a chained CNI plugin that sends a pod's outbound traffic to the sluice proxy; container runtimes run it"))
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(development)"
}
