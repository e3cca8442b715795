package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
)

func newDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete KIND NAME... | -f FILE",
		Short: "Remove resources from the configuration",
		Long: `Removes resources from the configuration directory, wherever in its files they
stand; what else a file holds stays as it is. Those that are there are removed,
the others are named, with exit code 1.`,
		Example: `  sluice delete ServiceEntry httpbin-ext google-ext
  sluice delete destinationrule google-ext
  sluice delete -f egress.yaml`,
	}
	files := filenameFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		objects, err := objectsToDelete(c, *files, args)
		if err != nil {
			return err
		}
		changes, err := directory(c).Delete(objects)
		printChanges(c, changes)
		if asType[*file.NotFoundError](err) {
			return hinted(err, "'sluice get' lists what there is")
		}
		return explainDirectory(err)
	}
	return c
}

func objectsToDelete(c *cobra.Command, files, args []string) ([]mesh.Identity, error) {
	switch {
	case len(files) > 0 && len(args) > 0:
		return nil, usage(errors.New("-f together with names: use one of them"), "usage: "+c.UseLine())
	case len(files) > 0:
		return objectsIn(c, files)
	case len(args) < 2:
		return nil, usage(errors.New("a kind and at least one name are wanted"), "usage: "+c.UseLine())
	}
	kind, err := parseKind(args[0])
	if err != nil {
		return nil, err
	}
	var objects []mesh.Identity
	for _, name := range args[1:] {
		objects = append(objects, mesh.Identity{Kind: kind, Namespace: namespace(c), Name: name})
	}
	return objects, nil
}

func objectsIn(c *cobra.Command, files []string) ([]mesh.Identity, error) {
	streams, err := readStreams(c, files)
	if err != nil {
		return nil, err
	}
	var objects []mesh.Identity
	for _, in := range streams {
		found := mesh.Locate(in.Name, in.Data, mesh.DecodeOptions{Namespace: in.Namespace})
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: holds no object; name at least one", in.Name)
		}
		for _, o := range found {
			objects = append(objects, o.Identity)
		}
	}
	return objects, nil
}

func parseKind(name string) (string, error) {
	if kind, ok := mesh.ParseKind(name); ok {
		return kind, nil
	}
	return "", usage(fmt.Errorf("kind %q: not a kind that sluice follows", name),
		"use serviceentry (se), virtualservice (vs), destinationrule (dr) or sidecar")
}
