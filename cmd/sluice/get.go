package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
)

func newGetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "get [KIND [NAME]...]",
		Short: "Show the resources of the configuration",
		Long: `Shows the resources of the configuration directory: all of them, those of a kind,
or those of a kind with the given names. Without --namespace, those of every
namespace, or with a name that of "default".`,
		Example: `  sluice get
  sluice get serviceentries -o wide
  sluice get dr google-ext -o yaml`,
	}
	output := c.Flags().StringP("output", "o", "", "wide, yaml, json or name")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains([]string{"", "wide", "yaml", "json", "name"}, *output) {
			return usage(fmt.Errorf("output %q: not known; use wide, yaml, json or name", *output), "usage: "+c.UseLine())
		}
		resources, err := selected(c, args)
		if err != nil && len(resources) == 0 {
			return explainDirectory(err)
		}
		return errors.Join(printResources(c, resources, *output, len(args) == 2), err)
	}
	return c
}

// selected lists what was asked for. Names that are not there are an error, next
// to those that are.
func selected(c *cobra.Command, args []string) ([]*mesh.Resource, error) {
	kind := ""
	if len(args) > 0 && !strings.EqualFold(args[0], "all") {
		var err error
		if kind, err = parseKind(args[0]); err != nil {
			return nil, err
		}
	}
	all, issues, err := directory(c).List()
	if err != nil {
		return nil, err
	}
	printIssues(c, issues.Of(mesh.Error))
	if len(args) > 1 {
		return named(c, all, kind, args[1:])
	}
	only, _ := c.Flags().GetString("namespace")
	return slices.DeleteFunc(all, func(r *mesh.Resource) bool {
		return kind != "" && r.Kind != kind || only != "" && r.Namespace != only
	}), nil
}

func named(c *cobra.Command, all []*mesh.Resource, kind string, names []string) ([]*mesh.Resource, error) {
	if kind == "" {
		return nil, usage(errors.New("names without a kind: say of which kind they are"), "usage: "+c.UseLine())
	}
	var out []*mesh.Resource
	missing := &file.NotFoundError{}
	for _, name := range names {
		id := mesh.Identity{Kind: kind, Namespace: namespace(c), Name: name}
		i := slices.IndexFunc(all, func(r *mesh.Resource) bool { return r.Identity() == id })
		if i < 0 {
			missing.Objects = append(missing.Objects, id)
			continue
		}
		out = append(out, all[i])
	}
	if len(missing.Objects) > 0 {
		return out, hinted(missing, "'sluice get "+strings.ToLower(kind)+"' lists what there is")
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
			fmt.Fprintf(c.OutOrStdout(), "%s/%s\n", strings.ToLower(r.Kind), r.Name)
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
