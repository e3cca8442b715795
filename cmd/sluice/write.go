package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

func newCreateCommand() *cobra.Command {
	return newWriteCommand(&cobra.Command{
		Use:   "create -f FILE",
		Short: "Add resources to the configuration",
		Long: `Adds the resources of YAML or JSON files to the configuration: to a directory all of
them, or with anything wrong about any of them none. A resource that is there already is
an error; 'sluice apply' replaces it. So is one whose name stands in a file of the
directory where it cannot be read: it could be there twice then.
` + writeLong + keeperLong,
		Example: `  # from standard input
  cat <<EOF | sluice create -f -
  apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata:
    name: httpbin-ext
  spec:
    hosts: [httpbin.org]
    ports:
    - {number: 80, name: http, protocol: HTTP}
    resolution: DNS
  EOF

  # from a file, into a directory of your own
  sluice create --config ./egress -f httpbin.yaml

  # in a cluster
  sluice create --context staging -n shop -f httpbin.yaml`,
	}, keeper.create)
}

func newApplyCommand() *cobra.Command {
	return newWriteCommand(&cobra.Command{
		Use:   "apply -f FILE",
		Short: "Add resources to the configuration, or replace them",
		Long: `Adds the resources of YAML or JSON files to the configuration, over those of the same
kind, namespace and name: to a directory all of them, or with anything wrong about any of
them none. One whose name stands in a file of the directory where it cannot be read is an
error: it could be there twice then.
` + writeLong + keeperLong,
		Example: `  sluice apply -f egress.yaml
  sluice apply -f - < egress.yaml
  sluice apply --context staging --dry-run -f egress/`,
	}, keeper.apply)
}

// writeLong says what is otherwise in a cluster.
const writeLong = `
In a cluster nothing is written either with anything wrong that sluice sees, beside what
the cluster has. After that each object is written for itself, in today's spelling, and
what the API server refuses of some does not keep the others out.`

func newWriteCommand(c *cobra.Command, write func(k keeper, dryRun string, in []manifest.Stream) error) *cobra.Command {
	namespaceFlag(c, objectNamespace)
	keeperFlags(c)
	domainFlag(c.Flags(), new(domainValue))
	dryRun := dryRunFlag(c)
	files := filenameFlag(c)
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage(fmt.Errorf("argument %q: name files with -f", args[0]), again(c, c.Name()+" -f "+quoted(args[0])))
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(*files) == 0 {
			return usage(errors.New("flag -f: is missing; name a file, or - for standard input"), "usage: "+c.UseLine())
		}
		k, err := keeperOf(c)
		if err != nil {
			return err
		}
		in, err := readStreams(c, *files, k.namespace())
		if err := cmp.Or(err, elsewhere(c, k, in)); err != nil {
			return err
		}
		return write(k, *dryRun, in)
	}
	return c
}

// objectNamespace is what --namespace means to a command that takes objects.
const objectNamespace = "`NAMESPACE` of objects that name none (default \"default\", in a cluster the context's); in a cluster one that names another is refused"

// filenameFlag adds -f, which may be given several times.
func filenameFlag(c *cobra.Command) *[]string {
	files := c.Flags().StringArrayP("filename", "f", nil, "`FILE` with resources, a directory of such files, or - for standard input")
	return files
}

// readStreams reads everything that is named, or says what cannot be read. namespace is
// that of objects which name none.
func readStreams(c *cobra.Command, names []string, namespace string) ([]manifest.Stream, error) {
	var all []manifest.Stream
	var problems []error
	for _, name := range names {
		within, err := filesIn(name)
		problems = append(problems, err)
		for _, path := range within {
			data, name, err := readInput(c, path)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			all = append(all, manifest.Stream{Name: name, Namespace: namespace, Data: data})
		}
	}
	return all, errors.Join(problems...)
}

// elsewhere refuses for a cluster, as kubectl does, what names another namespace than
// --namespace.
func elsewhere(c *cobra.Command, k keeper, in []manifest.Stream) error {
	only := flagValue(c, "namespace")
	if only == "" || k == nil || k.ofThisMachine() {
		return nil
	}
	var problems []error
	for _, s := range in {
		for _, o := range mesh.Locate(s.Name, s.Data, mesh.DecodeOptions{Namespace: s.Namespace}) {
			if o.Namespace != only {
				problems = append(problems, fmt.Errorf("%s: %s: names another namespace than --namespace %s", o.Source.Place(), o.Identity, only))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return hinted(errors.Join(problems...), "leave --namespace out: it is for objects that name none")
}

// filesIn is a file itself, and of a directory the files in it that may have resources.
func filesIn(name string) ([]string, error) {
	if info, err := os.Stat(name); name == "-" || err != nil || !info.IsDir() {
		return []string{name}, nil
	}
	names, err := file.Names(name)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("directory %q: holds no *.yaml, *.yml or *.json; name another", name)
	}
	for i := range names {
		names[i] = filepath.Join(name, names[i])
	}
	return names, err
}
