package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/kubeapi"
)

const manyEntries = 2000

// entry is a ServiceEntry for a host of its own.
func entry(name, host string) []byte {
	return fmt.Appendf(nil, `{"metadata":{"name":%q,"namespace":"load"},"spec":{"hosts":[%q],"ports":[{"number":80,"name":"http","protocol":"HTTP"}],"resolution":"DNS"}}`, name, host)
}

// watcher is a pod that asks for one host again and again, and says when the answer is
// another one than before, on the clock that it has in common with this process.
const watcher = `apiVersion: v1
kind: Pod
metadata: {name: watcher, namespace: load}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: watch
    image: ` + world.App + `
    imagePullPolicy: Never
    command: [bash, -c, "while :; do s=$(curl -s -m 5 -o /dev/null -w '%{http_code}' http://effect.example/); [ $s = \"$last\" ] || echo $(date +%s%N) $s; last=$s; sleep 0.02; done"]
`

// With 2 000 ServiceEntries in the cluster a change is in force in a running pod in less
// than 1 s at the median, and 5 s at the 99th percentile: while they are written, and
// afterwards while others of them are changed, when one comes, one that is there is changed
// to another host and back, or goes.
func TestAChangeAmongTwoThousandEntriesIsSoonInForce(t *testing.T) {
	l := newLoad(t)
	l.Internet.Web("effect.example", 80, nil)
	l.govern()
	l.apply(watcher)
	l.answered("502", 0)
	cluster, ctx := l.Cluster(), context.Background()
	e := effect{underLoad: l, cluster: cluster}

	began := time.Now()
	written := make(chan struct{})
	go func() {
		defer close(written)
		spread(manyEntries, func(n int) {
			if err := cluster.Create(ctx, kubeapi.ServiceEntries, entry(fmt.Sprint("many-", n), fmt.Sprintf("host-%d.example", n))); err != nil {
				t.Error(err)
			}
		})
	}()
	for writing := true; writing; {
		e.comesAndGoes()
		select {
		case <-written:
			writing = false
		default:
		}
	}
	t.Logf("%d ServiceEntries written in %v", manyEntries, time.Since(began))
	e.soon("while they are written", 0)

	rounds := 4
	if *full {
		rounds = 30
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second / 20)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			if _, _, err := cluster.Apply(ctx, kubeapi.ServiceEntries, entry(fmt.Sprint("many-", n%manyEntries), fmt.Sprintf("host-%d-%d.example", n%manyEntries, n))); err != nil {
				t.Error(err)
			}
		}
	}()
	for n := range rounds {
		e.comesAndGoes()
		e.changes(fmt.Sprint("many-", manyEntries-1-n))
	}
	close(stop)
	<-stopped
	e.soon("while others are changed", 4*rounds)
	l.allSucceeded("with 2 000 ServiceEntries")
	l.nonePassed("with 2 000 ServiceEntries")
}

// spread calls f with each number below n, 16 at a time.
func spread(n int, f func(int)) {
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for i := range numbers {
				f(i)
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
}

// effect is how long changes take to be in force.
type effect struct {
	*underLoad
	cluster *kubeapi.Cluster
	took    []time.Duration
}

// comesAndGoes has an entry come and go.
func (e *effect) comesAndGoes() {
	e.t.Helper()
	e.until("200", func(ctx context.Context) error {
		_, _, err := e.cluster.Apply(ctx, kubeapi.ServiceEntries, entry("effect", "effect.example"))
		return err
	})
	e.until("502", func(ctx context.Context) error {
		return e.cluster.Delete(ctx, kubeapi.ServiceEntries, kubeapi.Key{Namespace: "load", Name: "effect"})
	})
}

// changes has an entry that is there be for the host, and for another one again.
func (e *effect) changes(name string) {
	e.t.Helper()
	for _, to := range []struct{ status, host string }{{"200", "effect.example"}, {"502", name + ".example"}} {
		e.until(to.status, func(ctx context.Context) error {
			_, _, err := e.cluster.Apply(ctx, kubeapi.ServiceEntries, entry(name, to.host))
			return err
		})
	}
}

// until makes a change, and notes how long it took from its beginning to the first answer.
func (e *effect) until(status string, change func(context.Context) error) {
	e.t.Helper()
	before := len(e.answers())
	began := time.Now()
	if err := change(context.Background()); err != nil {
		e.t.Fatal(err)
	}
	e.took = append(e.took, e.answered(status, before).Sub(began))
}

// soon holds the changes since the last time, at least so many, to what is promised.
func (e *effect) soon(when string, least int) {
	e.t.Helper()
	if len(e.took) == 0 || len(e.took) < least {
		e.t.Fatalf("%s: %d changes; want %d", when, len(e.took), least)
	}
	slices.Sort(e.took)
	median, p99, longest := e.took[len(e.took)/2], e.took[(len(e.took)*99-1)/100], e.took[len(e.took)-1]
	said := fmt.Sprintf("%s: %d changes in force after %v at the median, %v at the 99th percentile, %v at most", when, len(e.took), median, p99, longest)
	if median > time.Second || p99 > 5*time.Second {
		e.t.Error(said)
	} else {
		e.t.Log(said)
	}
	e.took = nil
}

// answers are what the watcher has been answered, one after the other.
func (l *underLoad) answers() []string { return l.logsOf("watcher", "watch") }

// answered is when the watcher was first answered with a status, of its answers after so
// many.
func (l *underLoad) answered(status string, after int) (at time.Time) {
	l.t.Helper()
	l.Eventually("the watcher is answered with "+status, func() error {
		lines := l.answers()
		for _, line := range lines[min(after, len(lines)):] {
			var ns int64
			var s string
			if _, err := fmt.Sscan(line, &ns, &s); err != nil {
				return err
			}
			if s == status {
				at = time.Unix(0, ns)
				return nil
			}
		}
		return fmt.Errorf("it was answered with %q", lines)
	})
	return at
}
