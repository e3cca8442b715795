package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

func newCreateCommand() *cobra.Command {
	return newWriteCommand(&cobra.Command{
		Use:   "create -f FILE",
		Short: "Add resources to the configuration",
		Long: `Adds the resources of a YAML or JSON file to the configuration directory: all of
them, or with anything wrong about any of them none. A resource that is there
already is an error; 'sluice apply' replaces it. So is one whose name stands in a
file of the directory where it cannot be read: it could be there twice then.`,
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
  sluice create --config ./egress -f httpbin.yaml`,
	}, file.Directory.Create)
}

func newApplyCommand() *cobra.Command {
	return newWriteCommand(&cobra.Command{
		Use:   "apply -f FILE",
		Short: "Add resources to the configuration, or replace them",
		Long: `Adds the resources of a YAML or JSON file to the configuration directory, over
those of the same kind, namespace and name: all of them, or with anything wrong
about any of them none. One whose name stands in a file of the directory where it
cannot be read is an error: it could be there twice then.`,
		Example: `  sluice apply -f egress.yaml
  sluice apply -f - < egress.yaml`,
	}, file.Directory.Apply)
}

type writeOperation func(file.Directory, ...manifest.Stream) ([]manifest.Change, mesh.Issues, error)

func newWriteCommand(c *cobra.Command, write writeOperation) *cobra.Command {
	namespaceFlag(c, "`NAMESPACE` of objects that name none (default \"default\")")
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
		in, err := readStreams(c, *files)
		if err != nil {
			return err
		}
		return runWrite(c, in, write)
	}
	return c
}

func runWrite(c *cobra.Command, in []manifest.Stream, write writeOperation) error {
	changes, issues, err := write(directory(c), in...)
	printIssues(c, issues)
	if n := len(issues.Of(mesh.Error)); n > 0 {
		return hinted(fmt.Errorf("nothing was written, for %s", count(n, "error")), "correct what is listed above and try again")
	}
	if asType[*manifest.ExistsError](err) {
		return hinted(err, "nothing was written; "+again(c, "apply")+" replaces what is there")
	}
	if asType[*file.HiddenError](err) {
		return hinted(err, "nothing was written; "+again(c, "validate")+" lists all that is wrong there")
	}
	if err != nil {
		return explainDirectory(c, err)
	}
	printChanges(c, changes)
	return nil
}

func printChanges(c *cobra.Command, changes []manifest.Change) {
	for _, change := range changes {
		fmt.Fprintln(c.OutOrStdout(), change.Identity, change.Done)
	}
}

// filenameFlag adds -f, which may be given several times.
func filenameFlag(c *cobra.Command) *[]string {
	files := c.Flags().StringArrayP("filename", "f", nil, "`FILE` with resources, - for standard input")
	return files
}

// readStreams reads everything that is named, or says what cannot be read.
func readStreams(c *cobra.Command, names []string) ([]manifest.Stream, error) {
	var all []manifest.Stream
	var problems []error
	for _, name := range names {
		in, err := readStream(c, name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, in)
	}
	return all, errors.Join(problems...)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
