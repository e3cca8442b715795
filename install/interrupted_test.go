package install

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever is killed between two steps, or in the middle of one, is completed by the next
// run, whichever that is.
func TestWhatIsInterruptedAtAnyStepIsCompletedByTheNextRun(t *testing.T) {
	t.Parallel()
	old := map[string]string{
		"10-a.conflist":             strings.Replace(conflist, "true}}", `true}}, {"type":"sluice-cni"}`, 1),
		"20-b.conflist":             strings.Replace(conflist, "true}}", `true}}, {"type":"sluice-cni"}`, 1),
		"00-multus-sluice.conflist": strings.Replace(conflist, "true}}", `true}}, {"type":"sluice-cni"}`, 1),
		"old/50-sluice.conf":        entry,
	}
	for _, mode := range []Mode{DropIn, Append, Own, ""} { // "" uninstalls
		run := func(dir string) map[string]string {
			i := installer(t, Options{ConfDir: dir, Mode: mode})
			steps, err := i.change(func() ([]Step, error) {
				if mode == "" {
					return i.Leaving()
				}
				steps, _, err := i.plan(t.Context())
				return steps, err
			})
			if err != nil {
				t.Fatalf("mode %q: %v, %v", mode, steps, err)
			}
			return listing(t, dir)
		}
		want := run(confDir(t, old))
		steps := 1
		for n := 0; n < steps; n++ {
			dir := confDir(t, old)
			i := installer(t, Options{ConfDir: dir, Mode: mode})
			plan, err := i.Leaving()
			if mode != "" {
				plan, _, err = i.plan(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			steps = len(plan)
			for _, s := range plan[:n] {
				if err := apply(dir, s); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, temporary+"removed"), "half")
			if err := sweep(dir); err != nil {
				t.Fatal(err)
			}
			if got := run(dir); !maps.Equal(got, want) {
				t.Errorf("mode %q, interrupted after %d of %d steps:\ngot  %q\nwant %q", mode, n, steps, got, want)
			}
		}
		if steps < 4 {
			t.Errorf("mode %q: %d steps, want an interruption after several", mode, steps)
		}
	}
}
