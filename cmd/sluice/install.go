package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/install"
	"github.com/sluice-cni/sluice/internal/inotify"
)

// Where runtimes look unless they are configured otherwise.
const (
	defaultConfDir = "/etc/cni/net.d"
	defaultBinDir  = "/opt/cni/bin"

	defaultLease       = holder.DefaultRunDir + "/" + leaseName
	leaseName          = "installer"
	defaultAgentSocket = holder.DefaultRunDir + "/" + handover.SocketName
)

type installOptions struct {
	nodeOptions
	mode, binary, entry, pod string
	watch, check             bool
}

// name is that of the pod that this is in, "" for none.
func (o installOptions) name() string { return cmp.Or(o.pod, os.Getenv("POD_UID")) }

func newInstallCommand() *cobra.Command {
	var o installOptions
	c := &cobra.Command{
		Use:   "install",
		Short: "Put the CNI plugin into this node's container runtime",
		Long: `install copies the plugin into the runtime's bin dir, by rename and only after it has
run there, and puts its entry into the network configuration:

  dropin   a file of its own beside the list of the cluster's network; no file of
           others is touched. For runtimes that read those: containerd 2.1, CRI-O 1.33
  append   an entry at the end of that list; its name, version, mode and owner stay
  own      a list of its own that sorts first, made from the other one again whenever
           that changes
  auto     dropin where the runtime reads such files, else append; own where the
           network is a single plugin and no list

With --cri it asks the runtime until it uses the entry. A second install changes
nothing that is right already; an upgrade is an install with a newer binary. With
--watch it stays, restores the entry when somebody rewrites the configuration, and
names those who do so again and again; of several on one node, as during an upgrade, the
newest does (--lease). When it ends, everything stays where it is: taking it out is
'sluice uninstall'. In a cluster the Helm chart runs it on every node.

--check is for a readiness probe in the container of one with --watch, with the same
flags: whether entry and plugin are in place and the runtime uses them.`,
		Example: `  sluice install --dry-run
  sluice install --watch
  sluice install --mode append --cri off --conf-dir /etc/cni/net.d
  sluice install --entry entry.json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return o.install(c) },
	}
	o.flags(c)
	f := c.Flags()
	f.StringVar(&o.mode, "mode", string(install.Auto), "`MODE`: how to become part of the network configuration: auto, dropin, append or own")
	f.StringVar(&o.binary, "binary", "", "the plugin's `FILE`, or off where the image of the node brings it (default sluice-cni beside this program)")
	f.StringVar(&o.entry, "entry", "", "`FILE` with the plugin's configuration as JSON, - for standard input (default an entry for the agent of this node)")
	f.BoolVar(&o.watch, "watch", false, "stay, and keep the entry in place")
	f.BoolVar(&o.check, "check", false, "change nothing, and exit with 0 if there is nothing to change and the runtime uses the entry, or a newer installer of this node is in charge")
	f.StringVar(&o.pod, "pod-uid", "", "`UID` of the pod that this is in, by which an older installer is known; POD_UID of the environment when not given")
	return c
}

func (o installOptions) install(c *cobra.Command) error {
	mode, err := install.ReadMode(o.mode)
	if err != nil {
		return usage(err, "usage: "+c.UseLine())
	}
	if o.check && (o.watch || o.dryRun) {
		return usage(errors.New("--check, --watch, --dry-run: --check goes with none of the others"), "usage: "+c.UseLine())
	}
	entry, err := o.readEntry(c)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if o.watch {
		log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	}
	i, done, err := o.installer(install.New, install.Options{Mode: mode, Entry: entry, Name: o.name(), Log: log})
	if err != nil {
		return err
	}
	defer done()
	if o.check {
		return o.probe(c.Context(), i)
	}
	if o.dryRun {
		return o.preview(c, i)
	}
	if o.watch {
		return o.stay(c, i, log)
	}
	if err := o.putBinary(c); err != nil {
		return err
	}
	_, why, err := i.Plan(c.Context())
	if err != nil {
		return err
	}
	fmt.Fprintln(c.OutOrStdout(), why)
	steps, err := i.Ensure(c.Context())
	printChangesOf(c, steps, "nothing to change: the entry is in place")
	return err
}

// probeWithin is how long the runtime may take to answer a probe.
const probeWithin = 5 * time.Second

// probe looks on beside the installer that watches; where nobody says by what name that one
// is known, it takes the node for its own.
func (o installOptions) probe(ctx context.Context, i *install.Installer) error {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	i.Program = func(context.Context) error { return install.Installed(o.source(), o.binDir) }
	if o.binary == "off" {
		i.Program = func(context.Context) error { return install.Brought(o.binDir) }
	}
	if o.name() == "" {
		i.Lease = ""
	}
	return i.Check(ctx)
}

func (o installOptions) preview(c *cobra.Command, i *install.Installer) error {
	if o.binary != "off" {
		fmt.Fprintf(c.OutOrStdout(), "copy %s to %s, unless it is there already\n", o.source(), o.plugin())
	}
	steps, why, err := i.Plan(c.Context())
	if err != nil {
		return err
	}
	fmt.Fprintln(c.OutOrStdout(), why)
	printChangesOf(c, steps, "nothing to change: the entry is in place")
	for _, s := range steps {
		if s.After != nil {
			fmt.Fprintf(c.OutOrStdout(), "--- %s would be\n%s", s.Path, s.After)
		}
	}
	return nil
}

func (o installOptions) source() string {
	if o.binary != "" {
		return o.binary
	}
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return filepath.Join(filepath.Dir(self), "sluice-cni")
}

func (o installOptions) putBinary(c *cobra.Command) error {
	if o.binary == "off" {
		revived, err := install.Revive(c.Context(), o.binDir)
		if revived {
			fmt.Fprintln(c.OutOrStdout(), o.plugin(), "does something again: an uninstall had retired it")
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it may be brought afterwards; --watch says so until it is
		}
		return err
	}
	changed, err := install.Binary(c.Context(), o.source(), o.binDir)
	if err != nil {
		return hinted(err, "--binary FILE names the plugin, --binary off leaves the bin dir alone")
	}
	is := "is there already"
	if changed {
		is = "copied from " + o.source()
	}
	fmt.Fprintln(c.OutOrStdout(), o.plugin(), is)
	return nil
}

// stay watches until it is told to end, and leaves everything in place.
func (o installOptions) stay(c *cobra.Command, i *install.Installer, log *slog.Logger) error {
	ctx, stop := untilSignal(c.Context())
	defer stop()
	if err := i.Charge(ctx, func() error { return o.putBinary(c) }); err != nil {
		return err
	}
	i.Program = func(ctx context.Context) error {
		revived, err := install.Revive(ctx, o.binDir)
		if revived {
			log.Warn("the plugin's binary was retired by an uninstall; it does something again", "bin-dir", o.binDir)
		}
		return err
	}
	if o.binary != "off" {
		i.Program = func(ctx context.Context) error {
			changed, err := install.Binary(ctx, o.source(), o.binDir)
			if changed {
				log.Warn("the plugin's binary was missing or another; it is restored", "bin-dir", o.binDir)
			}
			return err
		}
	}
	i.Watch(ctx, inotify.Changes(ctx, o.confDir), func() { log.Info("installed", "conf-dir", o.confDir) })
	log.Info("ends; the entry and the binary stay in place, 'sluice uninstall' takes them out")
	return nil
}

// readEntry reads the plugin's configuration.
func (o installOptions) readEntry(c *cobra.Command) (json.RawMessage, error) {
	if o.entry == "" {
		return install.NodeEntry(), nil
	}
	entry, name, err := readInput(c, o.entry)
	if err != nil {
		return nil, err
	}
	if err := install.CheckEntry(entry); err != nil {
		return nil, hinted(fmt.Errorf("entry %s: %w", name, err), "docs/cni.md lists the fields")
	}
	return entry, nil
}
