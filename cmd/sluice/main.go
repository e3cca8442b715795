// Command sluice governs what leaves a workload: it runs the proxy, keeps the
// directory of Istio resources that the proxy follows, and checks them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-cni/sluice/demo"
	"github.com/sluice-cni/sluice/sandbox"
)

func main() {
	sandbox.Init()
	demo.Init()
	wanted := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(os.Interrupt) { // as in the background of a script
		wanted = append(wanted, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), wanted...)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}
