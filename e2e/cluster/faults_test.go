package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
)

// What carries the pods goes on without an API server, without a kubelet and without a
// container runtime.
func TestCallsGoOnWithoutTheCluster(t *testing.T) {
	l := newLoad(t)
	l.govern()
	away := 20 * time.Second
	if *full {
		away = 5 * time.Minute
	}
	l.Stop("kube-apiserver")
	time.Sleep(away) // that is the fault
	l.Start("kube-apiserver")
	l.Eventually("the API server answers", func() error { _, err := l.Kubectl("get", "nodes"); return err })
	for _, part := range []string{"kubelet", "containerd"} {
		l.Stop(part)
		l.Start(part)
		l.AwaitNode()
		l.more()
	}
	l.governed()
	l.allSucceeded("after the faults")
	l.nonePassed("after the faults")
	l.streamsEnd()
}

const manyEntries = 2000

// entry is a ServiceEntry for a host of its own.
func entry(name, host string) []byte {
	return fmt.Appendf(nil, `{"metadata":{"name":%q,"namespace":"load"},"spec":{"hosts":[%q],"ports":[{"number":80,"name":"http","protocol":"HTTP"}],"resolution":"DNS"}}`, name, host)
}

// With 2 000 ServiceEntries in the cluster a change of one is in force in a running pod
// in less than 1 s at the median, and 5 s at most.
func TestAChangeAmongTwoThousandEntriesIsSoonInForce(t *testing.T) {
	l := newLoad(t)
	l.Internet.Web("effect.example", 80, nil)
	l.govern()
	cluster, ctx := l.Cluster(), context.Background()
	began := time.Now()
	names := make(chan int)
	var writers sync.WaitGroup
	for range 16 {
		writers.Go(func() {
			for n := range names {
				if err := cluster.Create(ctx, kubeapi.ServiceEntries, entry(fmt.Sprint("many-", n), fmt.Sprintf("host-%d.example", n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range manyEntries {
		names <- n
	}
	close(names)
	writers.Wait()
	t.Logf("%d ServiceEntries written in %v", manyEntries, time.Since(began))

	pod := strings.Fields(l.Must("-n", "load", "get", "pods", "-o", "jsonpath={.items[*].metadata.name}"))[0]
	// until is when the pod was first answered so, on the clock that it has in common with
	// this process.
	until := func(status string) <-chan time.Time {
		at := make(chan time.Time, 1)
		begun := make(chan struct{})
		go func() {
			defer close(at)
			close(begun)
			out, err := l.Exec("load", pod, `for i in $(seq 2000); do s=$(curl -s -m 5 -o /dev/null -w '%{http_code}' http://effect.example/); [ "$s" = `+status+` ] && break; sleep 0.02; done; date +%s%N`)
			var ns int64
			if _, other := fmt.Sscan(out, &ns); err != nil || other != nil {
				t.Errorf("%s: %v %q", pod, err, out)
				return
			}
			at <- time.Unix(0, ns)
		}()
		<-begun
		return at
	}
	rounds := 5
	if *full {
		rounds = 50
	}
	var took []time.Duration
	for range rounds {
		on := until("200")
		began := time.Now()
		if _, err := cluster.Apply(ctx, kubeapi.ServiceEntries, entry("effect", "effect.example")); err != nil {
			t.Fatal(err)
		}
		if at, ok := <-on; ok {
			took = append(took, at.Sub(began))
		}
		off := until("502")
		began = time.Now()
		if err := cluster.Delete(ctx, kubeapi.ServiceEntries, kubeapi.Key{Namespace: "load", Name: "effect"}); err != nil {
			t.Fatal(err)
		}
		if at, ok := <-off; ok {
			took = append(took, at.Sub(began))
		}
	}
	slices.Sort(took)
	if len(took) == 0 {
		t.Fatal("no change was in force")
	}
	median, longest := took[len(took)/2], took[len(took)-1]
	t.Logf("in force after %v at the median, %v at most", median, longest)
	if median > time.Second || longest > 5*time.Second {
		t.Errorf("a change is in force after %v at the median and %v at most", median, longest)
	}
	l.allSucceeded("with 2 000 ServiceEntries")
	l.nonePassed("with 2 000 ServiceEntries")
}
