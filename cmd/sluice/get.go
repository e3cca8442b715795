package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

func newGetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "get [KIND [NAME]... | KIND/NAME...]",
		Short: "Show the resources of the configuration",
		Long: `Shows the resources of the configuration directory: all of them, those of a kind,
or those with the given names. Without --namespace, those of every namespace, or
with a name that of "default".

-o name prints kind.namespace/name, which 'sluice get' and 'sluice delete' take.`,
		Example: `  sluice get
  sluice get serviceentries -o wide
  sluice get dr google-ext -o yaml
  sluice get -o name | xargs sluice delete`,
	}
	namespaceFlag(c, "`NAMESPACE` to show (default all, for names \"default\")")
	output := c.Flags().StringP("output", "o", "", "`FORMAT`: wide, yaml, json or name")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains([]string{"", "wide", "yaml", "json", "name"}, *output) {
			return usage(fmt.Errorf("output %q: not known; use wide, yaml, json or name", *output), "usage: "+c.UseLine())
		}
		resources, single, err := selected(c, args)
		if err != nil && len(resources) == 0 {
			return explainDirectory(c, err)
		}
		return errors.Join(printResources(c, resources, *output, single), err)
	}
	return c
}

// selected lists what was asked for; single says that it was one object. Names
// that are not there are an error, next to those that are.
func selected(c *cobra.Command, args []string) (out []*mesh.Resource, single bool, err error) {
	kind := ""
	var wanted []mesh.Identity
	if len(args) > 0 && !strings.EqualFold(args[0], "all") {
		if wanted, err = objects(c, args); err != nil {
			return nil, false, err
		}
		kind, _ = mesh.ParseKind(args[0])
	} else if len(args) > 1 {
		return nil, false, usage(errors.New("names without a kind: say of which kind they are"), "usage: "+c.UseLine())
	}
	all, issues, err := directory(c).List()
	if err != nil {
		return nil, false, err
	}
	printIssues(c, issues.Of(mesh.Error))
	if len(wanted) > 0 {
		out, err = named(c, all, wanted)
		return out, len(wanted) == 1, err
	}
	only := flagValue(c, "namespace")
	return slices.DeleteFunc(all, func(r *mesh.Resource) bool {
		return kind != "" && r.Kind != kind || only != "" && r.Namespace != only
	}), false, nil
}

func named(c *cobra.Command, all []*mesh.Resource, wanted []mesh.Identity) ([]*mesh.Resource, error) {
	var out []*mesh.Resource
	missing := &manifest.NotFoundError{}
	for _, id := range wanted {
		i := slices.IndexFunc(all, func(r *mesh.Resource) bool { return r.Identity() == id })
		if i < 0 {
			missing.Objects = append(missing.Objects, id)
			continue
		}
		out = append(out, all[i])
	}
	if len(missing.Objects) > 0 {
		return out, hinted(missing, again(c, "get "+strings.ToLower(missing.Objects[0].Kind))+" lists what there is")
	}
	return out, nil
}

func printResources(c *cobra.Command, resources []*mesh.Resource, output string, single bool) error {
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
		fmt.Fprintln(c.ErrOrStderr(), "no resources found")
		return nil
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 3, ' ', 0)
	header := "KIND\tNAMESPACE\tNAME\tHOSTS\tDETAILS"
	if output == "wide" {
		header += "\tFILE"
	}
	fmt.Fprintln(w, header)
	for _, r := range resources {
		hosts, details := summary(r)
		row := strings.Join([]string{r.Kind, r.Namespace, r.Name, hosts, details}, "\t")
		if output == "wide" {
			row += "\t" + r.Source.Place()
		}
		fmt.Fprintln(w, row)
	}
	return w.Flush()
}

func sortForPrint(resources []*mesh.Resource) {
	slices.SortStableFunc(resources, func(a, b *mesh.Resource) int {
		if d := slices.Index(mesh.Kinds, a.Kind) - slices.Index(mesh.Kinds, b.Kind); d != 0 {
			return d
		}
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
}
