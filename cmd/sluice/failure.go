package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
)

// failure is an error with a line that says what to do about it.
type failure struct {
	err   error
	hint  string
	usage bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// hinted adds a hint to an error.
func hinted(err error, hint string) error { return &failure{err: err, hint: hint} }

// usage marks a command line that makes no sense: exit code 2.
func usage(err error, hint string) error { return &failure{err: err, hint: hint, usage: true} }

// exitCode ends the process with that code, silently: whoever returns it has
// already said what there was to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// report prints err as `error:` and `hint:` lines and returns the exit code.
func report(w io.Writer, err error, root *cobra.Command) int {
	if err == nil {
		return 0
	}
	if code := exitCode(0); errors.As(err, &code) {
		return int(code)
	}
	printError(w, err)
	var f *failure
	if !errors.As(err, &f) {
		return 1
	}
	if f.hint != "" {
		fmt.Fprintln(w, "hint:", asCalled(root, f.hint))
	}
	if f.usage {
		return 2
	}
	return 1
}

// printError writes a line per error. Issues say themselves what they are, after
// their place, which editors and people look for at the beginning.
func printError(w io.Writer, err error) {
	var issues mesh.Issues
	if errors.As(err, &issues) {
		fmt.Fprintln(w, issues)
		err = fmt.Errorf("the configuration has %s", count(len(issues), "error"))
	}
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		fmt.Fprintln(w, "error:", line)
	}
}

// noArguments is for commands that take flags only.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("argument %q: %s takes none", args[0], c.CommandPath()), "usage: "+c.UseLine())
	}
	return nil
}

// asType says whether an error of that type is in err's chain.
func asType[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

// unreadable says which file could not be read, and why.
func unreadable(name string, err error) error {
	return fmt.Errorf("file %q: cannot be read: %w", name, reason(err))
}

// reason is an error without the name of the file, which the message has already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
