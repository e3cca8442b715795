package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
)

// readInput reads a file, or standard input for "-", and gives the name that it has in
// messages.
func readInput(c *cobra.Command, path string) (data []byte, name string, err error) {
	if path == "-" {
		data, err = io.ReadAll(c.InOrStdin())
		return data, "stdin", err
	}
	if data, err = os.ReadFile(path); err != nil {
		err = unreadable(path, err)
	}
	return data, path, err
}

// printIssues writes one line per issue to standard error.
func printIssues(c *cobra.Command, issues mesh.Issues) {
	for _, i := range issues {
		fmt.Fprintln(c.ErrOrStderr(), i)
	}
}

// explainDirectory adds what to do about a directory that cannot be used.
func explainDirectory(c *cobra.Command, err error) error {
	if !asType[*file.DirectoryError](err) {
		return err
	}
	dir := configDir(c)
	if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
		hint := "mkdir -p " + quoted(dir) + ", or name another with --config or SLUICE_CONFIG"
		if c.Flags().Lookup("kubeconfig") != nil && !chosen(c) {
			hint += ", or a cluster with --kubeconfig"
		}
		return hinted(err, hint)
	}
	return hinted(err, "name another directory with --config or SLUICE_CONFIG")
}

// again is a command line for a hint, about the directory or cluster that this one names.
func again(c *cobra.Command, words string) string {
	return "'" + commandLine(c, words) + "'"
}

// commandLine is a command line about the directory or cluster that this one names.
func commandLine(c *cobra.Command, words string) string {
	for _, flag := range []string{"config", "kubeconfig", "context"} {
		if value := flagValue(c, flag); value != "" {
			words += " --" + flag + " " + quoted(value)
		}
	}
	return "sluice " + words
}
