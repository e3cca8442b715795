package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
)

func newGetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "get [KIND[,KIND]... [NAME]... | KIND/NAME...]",
		Short: "Show the resources of the configuration",
		Long: `Shows the resources of the configuration: all of them, those of some kinds, or those
with the given names. Without --namespace a directory's are those of every namespace, or
with a name that of "default"; a cluster's are those of the context's namespace, and with
-A those of every one. What is there and cannot be used is named on standard error.

-o name prints kind.namespace/name, which 'sluice get' and 'sluice delete' take. -o yaml
and json have today's spelling, and leave out what an API server adds.` + keeperLong,
		Example: `  sluice get
  sluice get serviceentries -o wide
  sluice get dr google-ext -o yaml
  sluice get -o name | xargs sluice delete
  kubectl sluice get se,vs -A`,
	}
	namespaceFlag(c, "`NAMESPACE` to show (default all, for names \"default\"; in a cluster the context's)")
	c.Flags().BoolP("all-namespaces", "A", false, "show every namespace")
	keeperFlags(c)
	output := formatFlag(c, "", "wide", "yaml", "json", "name")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := output.check(); err != nil {
			return usage(err, "usage: "+c.UseLine())
		}
		k, err := keeperOf(c)
		if err != nil {
			return err
		}
		resources, single, err := selected(c, k, args)
		if err != nil && len(resources) == 0 {
			return err
		}
		return errors.Join(printResources(c, k, resources, *output.text, single), err)
	}
	return c
}

// selected lists what was asked for; single says that it was one object. Names
// that are not there are an error, next to those that are.
func selected(c *cobra.Command, k keeper, args []string) (out []*mesh.Resource, single bool, err error) {
	var kinds []string
	var wanted []mesh.Identity
	if len(args) > 0 && !strings.EqualFold(args[0], "all") {
		if wanted, err = objects(k.namespace(), args); err != nil {
			return nil, false, err
		}
		if len(wanted) == 0 {
			kinds, _ = parseKinds(args[0])
		}
	} else if len(args) > 1 {
		return nil, false, usage(errors.New("names without a kind: say of which kind they are"), "usage: "+c.UseLine())
	}
	if len(wanted) > 0 && flagValue(c, "all-namespaces") == "true" {
		return nil, false, usage(errors.New("--all-namespaces together with names: an object is of one namespace"), "-n names it; without names -A lists all")
	}
	if len(wanted) > 0 {
		out, err = k.named(wanted)
		return out, len(wanted) == 1, err
	}
	out, err = k.list(kinds, listed(c, k))
	return out, false, err
}

// listed is the namespace of which resources are shown, "" for all.
func listed(c *cobra.Command, k keeper) string {
	if flagValue(c, "all-namespaces") == "true" {
		return ""
	}
	return cmp.Or(flagValue(c, "namespace"), k.shown())
}

func printResources(c *cobra.Command, k keeper, resources []*mesh.Resource, output string, single bool) error {
	sortForPrint(resources)
	switch output {
	case "yaml", "json":
		return printObjects(c.OutOrStdout(), resources, output, single)
	case "name":
		for _, r := range resources {
			fmt.Fprintln(c.OutOrStdout(), reference(r.Identity()))
		}
		return nil
	}
	if len(resources) == 0 {
		printNothing(c, k)
		return nil
	}
	rows := [][]string{{"KIND", "NAMESPACE", "NAME", "HOSTS", "DETAILS"}}
	for _, r := range resources {
		hosts, details := summary(r)
		rows = append(rows, []string{r.Kind, r.Namespace, r.Name, hosts, details})
	}
	if k.ofThisMachine() && output == "wide" {
		rows[0] = append(rows[0], "FILE")
		for i, r := range resources {
			rows[i+1] = append(rows[i+1], r.Source.Place())
		}
	}
	return longTable(c.OutOrStdout(), rows)
}

// printNothing says where nothing was found, and where else there may be something.
func printNothing(c *cobra.Command, k keeper) {
	text := "no resources found in "
	in := listed(c, k)
	if in != "" {
		text += "namespace " + in + " of "
	}
	text += k.place()
	if in != "" {
		text += "; -A shows every one"
	}
	if k.ofThisMachine() && !chosen(c) {
		text += "; --kubeconfig or 'kubectl sluice' asks a cluster"
	}
	fmt.Fprintln(c.ErrOrStderr(), text)
}

func sortForPrint(resources []*mesh.Resource) {
	slices.SortStableFunc(resources, func(a, b *mesh.Resource) int {
		if d := slices.Index(mesh.Kinds, a.Kind) - slices.Index(mesh.Kinds, b.Kind); d != 0 {
			return d
		}
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
}
