package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/demo"
	"github.com/sluice-cni/sluice/internal/lab"
)

func newDemoCommand() *cobra.Command {
	var step bool
	var plugins string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Walk through governed egress in namespaces of its own",
		Long: `demo builds a pod, a cluster and an internet out of network namespaces, attaches
the pod through the real CNI chain, and plays Istio's task "Control Egress
Traffic": each step is shown as what was typed, what was expected and what
happened. It exits with 1 when any step differs.

It runs isolated, needs no root, and cannot touch the machine's network.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runDemo(c, step, plugins) },
	}
	c.Flags().BoolVar(&step, "step", false, "wait for Enter before each step")
	c.Flags().StringVar(&plugins, "cni-bin-dir", "", "`DIR` with ptp and host-local (default \"cni\" beside sluice)")
	return c
}

func runDemo(c *cobra.Command, step bool, plugins string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	inside, code, err := lab.Isolate()
	// A security module may let the namespaces be made and then forbid all in them.
	if errors.Is(err, lab.ErrNoNamespaces) || errors.Is(err, fs.ErrPermission) {
		return hinted(err, "as root it works without: sudo "+self+" demo")
	}
	if err != nil {
		return err
	}
	if !inside {
		return exitCode(code)
	}
	beside := filepath.Dir(self)
	if plugins == "" {
		plugins = filepath.Join(beside, "cni")
	}
	ctx, stop := untilSignal(c.Context())
	defer stop()
	result, err := demo.Run(ctx, demo.Options{
		Out: c.OutOrStdout(), In: c.InOrStdin(), Step: step,
		Color:      wantsColor(os.Stdout),
		Sluice:     self,
		PluginDirs: []string{plugins, beside},
	})
	if errors.Is(err, demo.ErrNotBuilt) {
		return hinted(err, "run `make build`, or name the directory with --cni-bin-dir")
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(c.ErrOrStderr(), "stopped; everything is cleaned up")
		return exitCode(130)
	}
	if result.Steps > 0 {
		fmt.Fprintf(c.OutOrStdout(), "\n%d steps, %d as expected, %d different (%.0f s)\n",
			result.Steps, result.Steps-result.Different, result.Different, result.Took.Round(time.Second).Seconds())
	}
	if err != nil {
		return err
	}
	if result.Different > 0 {
		return exitCode(1)
	}
	return nil
}

// wantsColor is true for a terminal, unless the user says no (no-color.org).
func wantsColor(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
