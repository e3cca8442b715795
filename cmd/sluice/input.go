package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// directory is what create, apply, get and delete work on.
func directory(c *cobra.Command) file.Directory {
	return file.Directory{Path: configDir(c)}
}

// readStream reads a file, or standard input for "-".
func readStream(c *cobra.Command, name string) (manifest.Stream, error) {
	if name == "-" {
		data, err := io.ReadAll(c.InOrStdin())
		return manifest.Stream{Name: "stdin", Namespace: namespace(c), Data: data}, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return manifest.Stream{}, unreadable(name, err)
	}
	return manifest.Stream{Name: name, Namespace: namespace(c), Data: data}, nil
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
		return hinted(err, "mkdir -p "+quoted(dir)+", or name another with --config or SLUICE_CONFIG")
	}
	return hinted(err, "name another directory with --config or SLUICE_CONFIG")
}

// again is a command line for a hint, about the directory that this one names.
func again(c *cobra.Command, words string) string {
	return "'" + commandLine(c, words) + "'"
}

// commandLine is a command line about the directory that this one names.
func commandLine(c *cobra.Command, words string) string {
	if dir := flagValue(c, "config"); dir != "" {
		words += " --config " + quoted(dir)
	}
	return "sluice " + words
}

// quoted is a word that a shell takes as one.
func quoted(word string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-+:,@%=~", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(word) + `"`
}
