// Command sluice governs what leaves a workload: it runs the proxy, keeps the
// directory of Istio resources that the proxy follows, and checks them.
package main

import (
	"context"
	"os"

	"github.com/sluice-cni/sluice/demo"
	"github.com/sluice-cni/sluice/sandbox"
)

func main() {
	sandbox.Init()
	demo.Init()
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}
