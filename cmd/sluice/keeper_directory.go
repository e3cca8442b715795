package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// directoryKeeper is a directory of files.
type directoryKeeper struct{ c *cobra.Command }

func (k directoryKeeper) place() string       { return "directory " + configDir(k.c) }
func (k directoryKeeper) namespace() string   { return namespace(k.c) }
func (k directoryKeeper) ofThisMachine() bool { return true }

func (k directoryKeeper) shown() string { return "" }

func (k directoryKeeper) directory(dryRun string) file.Directory {
	return file.Directory{Path: configDir(k.c), DryRun: dryRun != ""}
}

func (k directoryKeeper) create(dryRun string, in []manifest.Stream) error {
	changes, issues, err := k.directory(dryRun).Create(in...)
	return k.written(dryRun, changes, issues, err)
}

func (k directoryKeeper) apply(dryRun string, in []manifest.Stream) error {
	changes, issues, err := k.directory(dryRun).Apply(in...)
	return k.written(dryRun, changes, issues, err)
}

func (k directoryKeeper) written(dryRun string, changes []manifest.Change, issues mesh.Issues, err error) error {
	printIssues(k.c, issues)
	if err := refusal(issues); err != nil {
		return err
	}
	if asType[*manifest.ExistsError](err) {
		return hinted(err, "nothing was written; "+again(k.c, "apply")+" replaces what is there")
	}
	if asType[*file.HiddenError](err) {
		return hinted(err, "nothing was written; "+again(k.c, "validate")+" lists all that is wrong there")
	}
	if err != nil {
		return explainDirectory(k.c, err)
	}
	k.print(dryRun, changes)
	return nil
}

// refusal is why nothing is written, nil where the issues are none.
func refusal(issues mesh.Issues) error {
	if n := len(issues.Of(mesh.Error)); n > 0 {
		return hinted(fmt.Errorf("nothing was written, for %s", count(n, "error")), "correct what is listed above and try again")
	}
	return nil
}

func (k directoryKeeper) print(dryRun string, changes []manifest.Change) {
	mark := ""
	if dryRun != "" {
		mark = dryRunMark(dryRunClient)
	}
	for _, change := range changes {
		printChange(k.c, change, mark)
	}
}

func (k directoryKeeper) delete(dryRun string, wanted []mesh.Identity) error {
	changes, err := k.directory(dryRun).Delete(wanted)
	k.print(dryRun, changes)
	if asType[*manifest.NotFoundError](err) {
		return hinted(err, again(k.c, "get")+" lists what there is")
	}
	if asType[*file.HiddenError](err) {
		return hinted(err, again(k.c, "validate")+" lists all that is wrong there")
	}
	return explainDirectory(k.c, err)
}

func (k directoryKeeper) list(kinds []string, namespace string) ([]*mesh.Resource, error) {
	all, issues, err := k.directory("").List()
	if err != nil {
		return nil, explainDirectory(k.c, err)
	}
	printIssues(k.c, issues.Of(mesh.Error))
	return slices.DeleteFunc(all, func(r *mesh.Resource) bool {
		return len(kinds) > 0 && !slices.Contains(kinds, r.Kind) || namespace != "" && r.Namespace != namespace
	}), nil
}

func (k directoryKeeper) named(wanted []mesh.Identity) ([]*mesh.Resource, error) {
	all, err := k.list(nil, "")
	if err != nil {
		return nil, err
	}
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
	return out, notFound(k.c, missing)
}

// notFound is the error of what was asked for and is not there, nil where there is none.
func notFound(c *cobra.Command, missing *manifest.NotFoundError) error {
	if len(missing.Objects) == 0 {
		return nil
	}
	return hinted(missing, again(c, "get "+strings.ToLower(missing.Objects[0].Kind))+" lists what there is")
}

func (k directoryKeeper) all([]*mesh.Resource) (reading, error) {
	return readDirectory(configDir(k.c))
}

func (k directoryKeeper) snapshot(o mesh.Options) (*mesh.Snapshot, error) {
	store, err := openStore(k.c, file.Options{Options: o, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return store.Snapshot(), nil
}

// outbound is nothing: who runs a proxy says it (--outbound-policy).
func (k directoryKeeper) outbound(string) (*mesh.OutboundPolicy, string) { return nil, "" }
