package main

import (
	"cmp"
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy/credential"
)

func newValidateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate [FILE|DIR|-]...",
		Short: "Check resources without putting them in force",
		Long: `Checks files, directories and standard input (-) together, and without any the
configuration. With --config, --kubeconfig or --context and files it checks what the
configuration would be once 'sluice apply' had put the files there. A directory or a
cluster is taken to be all there is: a DestinationRule's host, or a subset, that is in
none of its files is warned of. Of files alone that is not said, since others may have it.
Every error, warning and notice is printed with its file, line, column and field.
Certificates that are named are looked at too, and with --credentials those of
credentials; files that a cluster's resources name are on its nodes, and not looked at.
Beside a cluster what is said is of the files, and of what they change for others.
The exit code is 1 when there is an error, with --strict also when there is a warning;
notices leave it 0.

-o json is the list of issues; -o report an object with the verdict, how much was
checked, how many of each severity there are, and the same list.` + keeperLong,
		Example: `  sluice validate egress.yaml
  sluice validate --strict -o report ./egress
  sluice validate -o json ./egress other.yaml
  sluice validate --context staging egress.yaml
  kubectl get serviceentries -A -o yaml | sluice validate -`,
	}
	namespaceFlag(c, objectNamespace)
	keeperFlags(c)
	domainFlag(c.Flags(), new(domainValue))
	files := filenameFlag(c)
	output := formatFlag(c, "text", "json", "report")
	credentialsFlag(c)
	strict := c.Flags().Bool("strict", false, "warnings fail too")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := output.check(); err != nil {
			return usage(err, "usage: "+c.UseLine())
		}
		issues, checked, err := check(c, append(*files, args...))
		if err != nil {
			return explainDirectory(c, err)
		}
		v := newVerdict(issues, checked, *strict)
		if output.is("text") {
			return v.print(c)
		}
		var out any = v
		if output.is("json") {
			out = v.Issues
		}
		if err := writeJSON(c.OutOrStdout(), out); err != nil {
			return err
		}
		if !v.Valid {
			return exitCode(1)
		}
		return nil
	}
	return c
}

// check builds all that is named together. With a directory or a cluster among it the
// configuration is taken as complete, so that names nobody registers are worth a
// warning.
func check(c *cobra.Command, names []string) (mesh.Issues, int, error) {
	var k keeper
	in := namespace(c)
	credentials, err := credentialsDir(c)
	here := slices.Contains(names, configDir(c)) && !clusterChosen(c) // read once, as what is named
	if err == nil && (len(names) == 0 || chosen(c) && !here) {
		if k, err = keeperOf(c); err == nil {
			in = k.namespace()
		}
	}
	if err != nil {
		return nil, 0, err
	}
	named, namedErr := readNamed(c, k, in, names)
	there := reading{}
	if k != nil {
		there, err = k.all(named.resources)
	}
	issues := slices.Concat(there.issues, there.notices, named.issues)
	if err := errors.Join(err, namedErr); err != nil {
		printIssues(c, issues)
		return nil, 0, err
	}
	there = there.without(named)
	resources := slices.Concat(there.resources, named.resources)
	options := mesh.Options{Partial: !there.whole && !named.whole, ClusterDomain: flagValue(c, "cluster-domain")}
	_, together := mesh.Build(resources, options)
	switch {
	case k == nil || k.ofThisMachine():
		missing := file.Missing(resources)
		issues = slices.Concat(there.issues, named.issues, together, missing, credential.Unusable(resources, credentials, missing))
	case len(names) == 0:
		issues = slices.Concat(issues, together, onNodes(resources))
	default: // a cluster is many people's, and what they have there already is not what is asked
		_, before := mesh.Build(there.resources, options)
		issues = slices.Concat(there.notices, named.issues, together.Except(before), onNodes(named.resources))
	}
	issues.Sort()
	checked := slices.DeleteFunc(resources, func(r *mesh.Resource) bool { return r.Kind == mesh.KubernetesService })
	return slices.Compact(issues), len(checked), nil // a file may be named that is in the directory
}

// onNodes warns of files that a node's agent does not read.
func onNodes(resources []*mesh.Resource) (all mesh.Issues) {
	may := clusterFiles()
	for _, r := range resources {
		for _, f := range r.Files() {
			if err := may(f.Field, f.Path); err != nil {
				all = append(all, r.Issue(mesh.Warning, f.Field, f.Path, err.Error()))
			}
		}
	}
	return all
}

// reading is what was read so far.
type reading struct {
	resources []*mesh.Resource
	issues    mesh.Issues
	notices   mesh.Issues // of how much was read
	whole     bool        // a directory or a cluster is among it
}

// readNamed reads files, directories and standard input. namespace is that of objects
// which name none, but those in the directory of --config, which 'sluice apply' has put
// there with theirs.
func readNamed(c *cobra.Command, k keeper, namespace string, names []string) (all reading, err error) {
	var problems []error
	for _, name := range names {
		one, err := readOne(c, k, name, namespace)
		problems = append(problems, err)
		all.resources, all.issues, all.whole = append(all.resources, one.resources...), append(all.issues, one.issues...), all.whole || one.whole
	}
	return all, errors.Join(problems...)
}

func readOne(c *cobra.Command, k keeper, name, namespace string) (r reading, err error) {
	if name == configDir(c) && !clusterChosen(c) {
		return readDirectory(name)
	}
	info, err := os.Stat(name)
	r.whole = name != "-" && err == nil && info.IsDir()
	streams, err := readStreams(c, []string{name}, namespace)
	for _, in := range streams {
		resources, issues := mesh.Decode(in.Name, in.Data, mesh.DecodeOptions{Namespace: in.Namespace})
		r.resources, r.issues = append(r.resources, resources...), append(r.issues, issues...)
	}
	return r, cmp.Or(err, elsewhere(c, k, streams))
}

// readDirectory reads one as an agent reads it.
func readDirectory(path string) (r reading, err error) {
	r.whole = true
	r.resources, r.issues, err = file.Directory{Path: path}.List()
	return r, err
}

// without leaves out what others replace, right or wrong.
func (r reading) without(others reading) reading {
	replaced := map[mesh.Identity]bool{}
	for _, o := range others.resources {
		replaced[o.Identity()] = true
	}
	for _, i := range others.issues {
		replaced[i.Identity()] = true
	}
	r.resources = slices.DeleteFunc(slices.Clone(r.resources), func(r *mesh.Resource) bool { return replaced[r.Identity()] })
	r.issues = slices.DeleteFunc(slices.Clone(r.issues), func(i mesh.Issue) bool { return i.Name != "" && replaced[i.Identity()] })
	return r
}
