// Command build builds the tools that are named and prints their paths. Those that it has
// built before come from the cache at once.
//
//	go run ./e2e/cluster/build etcd hyperkube coredns helm
package main

import (
	"fmt"
	"os"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
)

func main() {
	for _, name := range os.Args[1:] {
		tool, err := programs.Named(name)
		if err == nil {
			err = programs.Build(tool)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		fmt.Println(tool.Path())
	}
}
