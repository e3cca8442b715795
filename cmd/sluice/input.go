package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
)

const directoryHint = "make it with 'mkdir -p', or name another with --config or SLUICE_CONFIG"

// directory is what create, apply, get and delete work on.
func directory(c *cobra.Command) file.Directory {
	return file.Directory{Path: configDir(c)}
}

// readStream reads a file, or standard input for "-".
func readStream(c *cobra.Command, name string) (file.Stream, error) {
	if name == "-" {
		data, err := io.ReadAll(c.InOrStdin())
		return file.Stream{Name: "stdin", Namespace: namespace(c), Data: data}, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return file.Stream{}, unreadable(name, err)
	}
	return file.Stream{Name: name, Namespace: namespace(c), Data: data}, nil
}

// printIssues writes one line per issue to standard error.
func printIssues(c *cobra.Command, issues mesh.Issues) {
	for _, i := range issues {
		fmt.Fprintln(c.ErrOrStderr(), i)
	}
}

// explainDirectory adds what to do about a directory that cannot be used.
func explainDirectory(err error) error {
	if asType[*file.DirectoryError](err) {
		return hinted(err, directoryHint)
	}
	return err
}
