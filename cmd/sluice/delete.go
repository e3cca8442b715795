package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
)

func newDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete KIND[,KIND]... NAME... | KIND/NAME... | -f FILE",
		Short: "Remove resources from the configuration",
		Long: `Removes resources from the configuration, in a directory wherever in its files they
stand; what else a file holds stays as it is. Those that are there are removed, the
others are named, with exit code 1. KIND.NAMESPACE/NAME, as 'sluice get -o name' prints
it, names an object with its namespace.` + keeperLong,
		Example: `  sluice delete ServiceEntry httpbin-ext google-ext
  sluice delete destinationrule google-ext
  sluice delete sidecar.team-a/default
  sluice delete -f egress.yaml`,
	}
	namespaceFlag(c, objectNamespace)
	keeperFlags(c)
	dryRun := dryRunFlag(c)
	files := filenameFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		k, err := keeperOf(c)
		if err != nil {
			return err
		}
		wanted, err := objectsToDelete(c, k, *files, args)
		if err != nil {
			return err
		}
		return k.delete(*dryRun, wanted)
	}
	return c
}

func objectsToDelete(c *cobra.Command, k keeper, files, args []string) ([]mesh.Identity, error) {
	switch {
	case len(files) > 0 && len(args) > 0:
		return nil, usage(errors.New("-f together with names: use one of them"), "usage: "+c.UseLine())
	case len(files) > 0:
		return objectsIn(c, k, files)
	case len(args) == 0:
		return nil, usage(errors.New("a kind and at least one name are wanted"), "usage: "+c.UseLine())
	}
	wanted, err := objects(k.namespace(), args)
	if err == nil && len(wanted) == 0 {
		err = usage(fmt.Errorf("kind %q without a name: name at least one", args[0]), "usage: "+c.UseLine())
	}
	return wanted, err
}

// namingFields say which object is meant.
var namingFields = []string{"apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace"}

func objectsIn(c *cobra.Command, k keeper, files []string) ([]mesh.Identity, error) {
	streams, err := readStreams(c, files, k.namespace())
	if err := cmp.Or(err, elsewhere(c, k, streams)); err != nil {
		return nil, err
	}
	var out []mesh.Identity
	var problems []error
	for _, in := range streams {
		opts := mesh.DecodeOptions{Namespace: in.Namespace}
		found, unread := mesh.LocateReadable(in.Name, in.Data, opts)
		for _, u := range unread {
			problems = append(problems, errors.New(u.Issue.String()))
		}
		_, issues := mesh.Decode(in.Name, in.Data, opts)
		for _, i := range issues {
			switch named := slices.Contains(namingFields, i.Field); { // what else is wrong keeps no object from being named
			case named && i.Severity == mesh.Error:
				problems = append(problems, errors.New(i.String()))
			case named:
				printIssues(c, mesh.Issues{i})
			}
		}
		if len(found)+len(problems) == 0 {
			problems = append(problems, fmt.Errorf("%s: holds no object; name at least one", in.Name))
		}
		for _, o := range found {
			out = append(out, o.Identity)
		}
	}
	if len(problems) > 0 {
		return nil, hinted(errors.Join(problems...), "nothing was deleted; correct that, or name the objects")
	}
	return out, nil
}
