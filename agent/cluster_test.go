package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
)

func TestAnAPIServerThatIsAwayIsSaid(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		is   Cluster
		want string
	}{
		{Cluster{}, ""},
		{Cluster{Away: noon, Err: errors.New("refused")}, "the API server has not answered since 2026-11-26T12:00:00Z, and what was last known is in force: refused"},
		{Cluster{Away: noon, Waiting: []string{"services", "sidecars"}}, "no configuration yet: not all is known of services, sidecars; the API server has not answered since 2026-11-26T12:00:00Z"},
	} {
		if got := x.is.String(); got != x.want {
			t.Errorf("%q, not %q", got, x.want)
		}
		a := &Agent{cfg: Config{Cluster: func() Cluster { return x.is }}}
		wants := core.Status{Connected: true, Decides: true}
		if err := a.notReady(wants); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("not ready: %v", err)
		}
		if wants.Ready = true; a.notReady(wants) != nil {
			t.Error("an agent that serves by what was last known is ready")
		}
	}
}
