package node

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// One pod opens connections without end, and says nothing on them; the next goes on as if
// it were alone. (proxy's TestOnePodsFloodLeavesTheOthersTheirShare has the other floods.)
func TestOnePodsConnectionsLeaveTheOthersTheirs(t *testing.T) {
	const most, many = 20, 200
	n := aNode(t, stage.Options{Agent: []string{"--max-connections", "20"}})
	loud, quiet := added(t, n), added(t, n)
	governed(t, loud)
	l, err := quiet.Load(load.Spec{PerSecond: 50, Targets: []load.Target{web, tls, database, names}, Patience: patience})
	must(t, err)
	var reading sync.WaitGroup
	refused := make(chan struct{}, many)
	for range many {
		c, err := loud.NS.Dial(context.Background(), "tcp", web.Address)
		if err != nil { // reset by then
			refused <- struct{}{}
			continue
		}
		io.WriteString(c, "GET / HT")
		t.Cleanup(func() { c.Close() })
		reading.Go(func() {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				refused <- struct{}{}
			}
		})
	}
	await.True(t, "what is over the limit is refused", func() bool { return len(refused) >= many-most })
	r, err := l.Stop()
	must(t, err)
	for _, f := range r.Failures {
		t.Errorf("of the quiet pod: %s: %s: %s", f.Kind, f.What, f.Error)
	}
	governed(t, quiet)
	if s, err := n.Status(); err != nil || s.Used.Connections < most {
		t.Errorf("%+v, %v", s.Used, err)
	}
	must(t, loud.Delete()) // which ends them
	reading.Wait()
}
