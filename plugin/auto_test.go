package plugin_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules/nft"
)

func ranges(t *testing.T, path string, until *time.Time, list ...string) {
	t.Helper()
	if err := rangesfile.Write(path, rangesfile.File{Written: time.Now(), ValidUntil: until, Ranges: list}); err != nil {
		t.Fatal(err)
	}
}

func included(t *testing.T, ns *lab.Namespace) string {
	t.Helper()
	c, _, err := nft.Stored(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	return c.IncludeIPRanges.String()
}

func TestAutoTakesTheClustersRangesFromTheNodesFile(t *testing.T) {
	t.Parallel()
	path, ns := filepath.Join(t.TempDir(), "ranges.json"), pod(t)
	ranges(t, path, nil, "10.96.0.0/12", "fd00:10::/108")
	for name, stdin := range map[string]string{
		"by the configuration": conf(`"includeIPRanges":"auto","rangesFile":"` + path + `"`),
		"by an annotation":     annotated(t, `"rangesFile":"`+path+`"`, map[string]string{"traffic.sidecar.istio.io/includeOutboundIPRanges": "auto"}),
	} {
		call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		if got := included(t, ns); got != "10.96.0.0/12,fd00:10::/108" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestRangesThatChangedSinceADDAreNoDrift(t *testing.T) {
	t.Parallel()
	path, ns := filepath.Join(t.TempDir(), "ranges.json"), pod(t)
	stdin := conf(`"includeIPRanges":"auto","rangesFile":"` + path + `"`)
	ranges(t, path, nil, "10.96.0.0/12")
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	ranges(t, path, nil, "10.97.0.0/16")
	call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	if got := included(t, ns); got != "10.97.0.0/16" {
		t.Error("ADD again keeps", got)
	}
	call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	if f := (call{verb: "CHECK", netns: ns.Path(), stdin: stdin}).run(t).failed(t); f.Code != 103 {
		t.Errorf("%+v", f)
	}
}

func TestAutoWithoutAUsableFileFailsADDAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir, past := t.TempDir(), time.Now().Add(-time.Hour)
	ranges(t, filepath.Join(dir, "old"), &past, "10.0.0.0/8")
	for file, want := range map[string]string{"none": "is missing", "old": "out of date since"} {
		ns := pod(t)
		stdin := conf(`"includeIPRanges":"auto","rangesFile":"` + filepath.Join(dir, file) + `"`)
		f := call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).failed(t)
		if f.Code != 7 || !strings.Contains(f.Details, want) || !strings.Contains(f.Details, "'sluice cidr --from-cluster --write ") {
			t.Errorf("%s: %+v", file, f)
		}
		if len(tables(t, ns)) > 0 {
			t.Errorf("%s: something was programmed", file)
		}
		call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	}
	if f := (call{verb: "ADD", netns: pod(t).Path(), stdin: conf(`"rangesFile":"ranges.json"`)}).run(t).failed(t); !strings.Contains(f.Details, `rangesFile "ranges.json": not an absolute path`) {
		t.Errorf("%+v", f)
	}
}
