package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// keeper is where create, apply, get, delete, validate and explain have the resources: a
// directory, or a cluster. What it says of them goes to the command's standard error, and what it did
// to its standard output.
type keeper interface {
	// place names it, for messages.
	place() string
	// namespace is that of objects which name none.
	namespace() string
	// ofThisMachine says that the resources are files here, and so are the files they name.
	ofThisMachine() bool
	// shown is the namespace that is listed when none is named; "" is all.
	shown() string
	create(dryRun string, in []manifest.Stream) error
	apply(dryRun string, in []manifest.Stream) error
	delete(dryRun string, wanted []mesh.Identity) error
	// list gives the resources of some kinds, none is all, and of a namespace, "" is all. It
	// says what cannot be used.
	list(kinds []string, namespace string) ([]*mesh.Resource, error)
	// named gives those that are there; the error names the others.
	named(wanted []mesh.Identity) ([]*mesh.Resource, error)
	// all reads everything, to be judged together with others.
	all(others []*mesh.Resource) (reading, error)
	// outbound is what is said of a namespace's traffic for which nothing is registered, over
	// resources, nil for nothing, and by whom.
	outbound(namespace string) (policy *mesh.OutboundPolicy, by string)
	// snapshot is what a proxy would follow that starts with them now.
	snapshot(mesh.Options) (*mesh.Snapshot, error)
}

// keeperFlags adds those that name a cluster; --config is every command's.
func keeperFlags(c *cobra.Command) {
	c.Flags().String("kubeconfig", "", "the cluster of this kubeconfig `FILE`, instead of a directory")
	c.Flags().String("context", "", "the cluster of this `CONTEXT` of the kubeconfig, instead of a directory")
}

// keeperLong ends the help of each command that has a keeper.
const keeperLong = `

The configuration is the directory of --config, or the cluster of --kubeconfig or
--context, or of 'kubectl sluice'. Where none is named it is $SLUICE_CONFIG, /etc/sluice
if that is there, and else the cluster that kubectl speaks to.`

// chosen says whether the command line names a directory or a cluster.
func chosen(c *cobra.Command) bool {
	return flagValue(c, "config") != "" || clusterChosen(c)
}

func clusterChosen(c *cobra.Command) bool {
	return flagValue(c, "kubeconfig") != "" || flagValue(c, "context") != "" || calledByKubectl(c) && flagValue(c, "config") == ""
}

// keeperOf finds the keeper that the command line, the environment or this machine names.
func keeperOf(c *cobra.Command) (keeper, error) {
	if flagValue(c, "config") != "" && clusterChosen(c) {
		return nil, usage(errors.New("--config together with --kubeconfig or --context: the resources are a directory's or a cluster's"), "leave one of them out")
	}
	if clusterChosen(c) {
		return connect(c)
	}
	if flagValue(c, "config") == "" && os.Getenv("SLUICE_CONFIG") == "" {
		if _, err := os.Stat(defaultConfigDir); errors.Is(err, os.ErrNotExist) {
			if k, err := connect(c); !errors.Is(err, kubeapi.ErrNowhere) {
				return k, err
			}
		}
	}
	return directoryKeeper{c}, nil
}

// dryRunFlag adds --dry-run.
func dryRunFlag(c *cobra.Command) *string {
	v := new(dryRunValue)
	c.Flags().Var(v, "dry-run", "say what would be done: with `HOW` server (the default) the API server is asked whether it would take it, with client it is not; in a directory they are the same")
	c.Flags().Lookup("dry-run").NoOptDefVal = dryRunServer
	return (*string)(v)
}

// What --dry-run may be.
const (
	dryRunServer = "server"
	dryRunClient = "client"
)

type dryRunValue string

func (v *dryRunValue) String() string { return string(*v) }
func (v *dryRunValue) Type() string   { return "string" }

func (v *dryRunValue) Set(text string) error {
	switch text {
	case dryRunServer, dryRunClient:
		*v = dryRunValue(text)
	case "none":
		*v = ""
	default:
		return errors.New("not known; use server, client or none")
	}
	return nil
}

// dryRunMark follows what would have been done, as kubectl has it.
func dryRunMark(how string) string {
	switch how {
	case dryRunServer:
		return " (server dry run)"
	case dryRunClient:
		return " (dry run)"
	}
	return ""
}

func printChange(c *cobra.Command, change manifest.Change, mark string) {
	fmt.Fprintf(c.OutOrStdout(), "%s %s%s\n", change.Identity, change.Done, mark)
}
