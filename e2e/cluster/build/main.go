// Command build builds the tools that are named and prints where they are. Those that it
// has built before come from the cache at once.
//
//	go run ./e2e/cluster/build etcd hyperkube coredns helm containerd
package main

import (
	"fmt"
	"os"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
)

func main() {
	for _, name := range os.Args[1:] {
		where, err := build(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		fmt.Println(where)
	}
}

func build(name string) (where string, err error) {
	if name == "containerd" { // with runc: the tests of a node have it too
		if err := node.Fetch([]string{node.Containerd2}); err != nil {
			return "", err
		}
		return node.Runtimes()[0].Folder, nil
	}
	tool, err := programs.Named(name)
	if err != nil {
		return "", err
	}
	if err := programs.Build(tool); err != nil {
		return "", err
	}
	return tool.Path(), nil
}
