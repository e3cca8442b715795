package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/install"
)

// nodeOptions are the flags that install and uninstall share.
type nodeOptions struct {
	confDir, binDir, cri, lease string
	dryRun                      bool
}

func (o *nodeOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.confDir, "conf-dir", defaultConfDir, "`DIR` of the runtime's network configurations")
	f.StringVar(&o.binDir, "bin-dir", defaultBinDir, "`DIR` of the runtime's CNI plugins")
	f.StringVar(&o.cri, "cri", "", "the runtime's `SOCKET`, or off to ask nobody (default the first that is there of "+strings.Join(criSockets, ", ")+")")
	leaseFlag(c, &o.lease)
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and do nothing")
}

// leaseFlag adds --lease; leaseFile reads it.
func leaseFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "lease", defaultLease, "`FILE` by which watching installers of this node agree which of them keeps entry and plugin, or off")
}

// leaseFile is the lease that a flag names, "" for none.
func leaseFile(flag string) string {
	if flag == "off" {
		return ""
	}
	return flag
}

// plugin is where the runtime finds it.
func (o nodeOptions) plugin() string { return filepath.Join(o.binDir, "sluice-cni") }

// installer makes one for the conf dir, of which with says the rest; done ends what it opened.
func (o nodeOptions) installer(make func(install.Options) (*install.Installer, error), with install.Options) (i *install.Installer, done func(), err error) {
	with.ConfDir, with.Lease = o.confDir, leaseFile(o.lease)
	if with.Runtime, done, err = criRuntime(o.cri); err != nil {
		return nil, nil, err
	}
	if i, err = make(with); err != nil {
		done()
	}
	return i, done, err
}

func printChangesOf(c *cobra.Command, steps []install.Step, none string) {
	for _, s := range steps {
		fmt.Fprintln(c.OutOrStdout(), s)
	}
	if len(steps) == 0 {
		fmt.Fprintln(c.OutOrStdout(), none)
	}
}
