// Command sluice governs what leaves a workload: it runs the proxy, keeps the
// directory of Istio resources that the proxy follows, and checks them.
package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"

	"github.com/sluice-cni/sluice/demo"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/sandbox"
)

// The main goroutine keeps the main thread to itself. Goroutines that enter a pod's
// namespace (agent, holder) end with their thread, which the main one cannot: it would
// stay there, and keep the namespace alive, for as long as the process lives.
func init() { runtime.LockOSThread() }

func main() {
	sandbox.Init()
	demo.Init()
	kubeapi.LogTo(slog.New(slog.DiscardHandler)) // what matters of it is in errors; an agent has it in its log
	os.Exit(runAs(context.Background(), os.Args[0], os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}
