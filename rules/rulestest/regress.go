package rulestest

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
)

// Cases that failed once, for every backend to try before any new one. The name of
// a file says what it is about, or the seed that found it.
//
//go:embed testdata/*.json
var failedOnce embed.FS

// keptIn is the same folder as seen from the package of a backend.
const keptIn = "../rulestest/testdata"

// standIn is the cgroup above those of the flows in files: its real name has the
// number of the test's process.
const standIn = "/sluice-oracle"

type failure struct {
	Node   bool
	Config rules.Config
	Flow   rules.Flow
}

// keep writes a failing case and returns the file's name, or why there is none.
func keep(m Mode, c rules.Config, f rules.Flow) string {
	data, err := json.MarshalIndent(failure{m.Node, c, f}, "", "\t")
	if err != nil {
		return err.Error()
	}
	text := strings.ReplaceAll(string(data), cgroupBase(), standIn) + "\n"
	name := filepath.Join(keptIn, fmt.Sprintf("found-%s.json", c.Hash()[:12]))
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return err.Error()
	}
	return name
}

func (w *World) replay(t *testing.T, apply Apply, withCgroups bool) {
	t.Helper()
	files, err := fs.Glob(failedOnce, "testdata/*.json")
	must(t, err)
	for _, name := range files {
		data, err := failedOnce.ReadFile(name)
		must(t, err)
		var kept failure
		must(t, json.Unmarshal([]byte(strings.ReplaceAll(string(data), standIn, cgroupBase())), &kept))
		f := kept.Flow
		if lab.OwnUserNamespace() && (f.UID != 0 || f.GID != 0) || !withCgroups && (f.Cgroup != "" || kept.Config.Exemption == rules.ExemptByCgroup) {
			t.Logf("not run: %s needs root", name)
			continue
		}
		var m Mode
		if kept.Node {
			m = nodeMode(cgroupNames()[0])
		}
		if err := w.program(apply, m, kept.Config); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if what := w.difference(kept.Config, f); what != "" {
			t.Errorf("%s: %s", name, what)
		}
	}
}

func text(c rules.Config) string {
	data, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
