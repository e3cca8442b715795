package agent

import (
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// Where processes may not be looked at, pods that are gone are gone all the same: else none is
// ever let go.
func TestALookPastProcessesIsWhole(t *testing.T) {
	t.Parallel()
	log := &heard.Text{}
	a := New(Config{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err := labtest.Without(unix.CAP_SYS_PTRACE, func() error { a.sweep.once(t.Context()); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, told := range a.loop.inbox.take() {
		if seen, is := told.(core.Found); !is || !seen.Complete || a.sweep.said == "" {
			t.Errorf("the core is told %+v, and people %q", told, log)
		}
	}
}
