package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/e2e/cluster/chart"
	"github.com/sluice-cni/sluice/e2e/cluster/quick"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/kube"
)

// store is one that follows, until stop.
type store struct {
	*kube.Store
	feed *kubeapi.Feed
	stop func()
}

func connect(t *testing.T, kubeconfig string) *kubeapi.Cluster {
	t.Helper()
	c, err := kubeapi.Connect(kubeconfig, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func follow(t *testing.T, kubeconfig string, o kubeapi.FollowOptions) *store {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	f := connect(t, kubeconfig).Feed(o)
	s := &store{feed: f, Store: kube.New(f, kube.Options{Log: o.Log})}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { f.Run(ctx) })
	all.Go(func() { s.Run(ctx) })
	s.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(s.stop)
	return s
}

func (s *store) leads(host string) bool {
	now := s.Snapshot()
	return now != nil && now.View(mesh.Workload{Namespace: "default"}).Name(host) != nil
}

func entry(name, host string) string {
	return fmt.Sprintf(`{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"namespace":"default","name":%q},`+
		`"spec":{"hosts":[%q],"ports":[{"number":443,"name":"tls","protocol":"TLS"}],"resolution":"DNS"}}`, name, host)
}

func TestARealAPIServer(t *testing.T) {
	s := quick.New(t)
	before := follow(t, s.Kubeconfig(), kubeapi.FollowOptions{}) // there are no definitions yet
	await.True(t, "a snapshot without Istio's definitions", func() bool { return before.Snapshot() != nil })
	definitions, err := chart.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(string(definitions))
	c, ctx := connect(t, s.Kubeconfig()), context.Background()
	await.True(t, "an entry", func() bool {
		_, _, err := c.Apply(ctx, kubeapi.ServiceEntries, []byte(entry("first", "first.example.com")))
		return err == nil
	})
	await.True(t, "that entry in force", func() bool { return before.leads("first.example.com") })
	before.stop()

	t.Run("writing", func(t *testing.T) { writing(t, c) })
	t.Run("services", func(t *testing.T) { services(t, s, c) })
	t.Run("rights", func(t *testing.T) { rights(t, s) })
	t.Run("away", func(t *testing.T) { away(t, s, c) })
	t.Run("many", func(t *testing.T) { many(t, s, c) })
}

func writing(t *testing.T, c *kubeapi.Cluster) {
	ctx, key := context.Background(), kubeapi.Key{Namespace: "default", Name: "written"}
	for _, step := range []struct{ host, want string }{{"a.example.com", "created"}, {"a.example.com", "unchanged"}, {"b.example.com", "configured"}} {
		done, _, err := c.Apply(ctx, kubeapi.ServiceEntries, []byte(entry("written", step.host)))
		if done != step.want || err != nil {
			t.Errorf("apply %s: %q, %v; want %s", step.host, done, err, step.want)
		}
	}
	dry := c.DryRun()
	if done, _, err := dry.Apply(ctx, kubeapi.ServiceEntries, []byte(entry("written", "b.example.com"))); done != "unchanged" || err != nil {
		t.Errorf("dry run of the same: %q, %v", done, err)
	}
	if done, _, err := dry.Apply(ctx, kubeapi.ServiceEntries, []byte(entry("written", "c.example.com"))); done != "configured" || err != nil {
		t.Errorf("dry run of another: %q, %v", done, err)
	}
	if o, err := c.Get(ctx, kubeapi.ServiceEntries, key); err != nil || !strings.Contains(string(o.JSON), "b.example.com") || o.Generation != 2 {
		t.Errorf("get: %s, %v", o.JSON, err)
	}
	if err := c.Create(ctx, kubeapi.ServiceEntries, []byte(entry("written", "a.example.com"))); !errors.Is(err, kubeapi.ErrExists) {
		t.Errorf("create of what is there: %v", err)
	}
	wrong := strings.Replace(entry("wrong", "a.example.com"), `"hosts"`, `"hots":["x"],"hosts"`, 1)
	if err := c.Create(ctx, kubeapi.ServiceEntries, []byte(wrong)); !errors.Is(err, kubeapi.ErrInvalid) || !strings.Contains(err.Error(), "spec.hots") {
		t.Errorf("create with an unknown field: %v", err)
	}
	if err := c.Patch(ctx, kubeapi.ServiceEntries, key, []byte(`{"metadata":{"labels":{"a":"b"}}}`)); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, kubeapi.ServiceEntries, key); err != nil {
		t.Error(err)
	}
	for verb, err := range map[string]error{
		"get":    func() error { _, err := c.Get(ctx, kubeapi.ServiceEntries, key); return err }(),
		"patch":  c.Patch(ctx, kubeapi.ServiceEntries, key, []byte(`{}`)),
		"delete": c.Delete(ctx, kubeapi.ServiceEntries, key),
	} {
		if !errors.Is(err, kubeapi.ErrNotFound) {
			t.Errorf("%s of what is gone: %v", verb, err)
		}
	}
	unknown := kubeapi.Kind{Group: "networking.istio.io", Version: "v1", Resource: "nothings", Name: "Nothing"}
	if _, err := c.List(ctx, unknown, kubeapi.Selector{}); !errors.Is(err, kubeapi.ErrMissing) {
		t.Errorf("list of no kind: %v", err)
	}
	if _, err := c.Get(ctx, unknown, key); !errors.Is(err, kubeapi.ErrMissing) {
		t.Errorf("get of no kind: %v", err)
	}
}

func services(t *testing.T, s *apiserver.Server, c *kubeapi.Cluster) {
	s.Apply(`
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: default}
spec: {clusterIP: None, ports: [{name: mysql, port: 3306}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: db-1, namespace: default, labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ""}}
endpoints: [{addresses: [10.244.0.9], conditions: {ready: true}}]
ports: [{name: mysql, port: 3307}]
`)
	f := follow(t, s.Kubeconfig(), kubeapi.FollowOptions{})
	await.True(t, "two Services", func() bool {
		return f.leads("web.default.svc.cluster.local") && f.leads("db.default.svc.cluster.local")
	})
	text := ""
	for _, r := range f.Snapshot().Resources() {
		text += fmt.Sprint(r.Kind, " ", r.Name, " ", r.Spec, "\n")
	}
	web, err := c.Get(context.Background(), kubeapi.Services, kubeapi.Key{Namespace: "default", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	_, ip, _ := strings.Cut(string(web.JSON), `"clusterIP":"`)
	ip, _, _ = strings.Cut(ip, `"`)
	for _, want := range []string{ip, "10.244.0.9", "3307"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing registers %s:\n%s", want, text)
		}
	}
}

// as is a kubeconfig by which an admin speaks for somebody else.
func as(t *testing.T, kubeconfig, user string) string {
	t.Helper()
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	config["users"].([]any)[0].(map[string]any)["user"].(map[string]any)["as"] = user
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func rights(t *testing.T, s *apiserver.Server) {
	rules := func(groups, resources string) string {
		return fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: source}
rules: [{apiGroups: [%s], resources: [%s], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: source}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: source}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: somebody}]
`, groups, resources)
	}
	s.Apply(rules(`"", discovery.k8s.io`, "services, endpointslices"))
	f := follow(t, as(t, s.Kubeconfig(), "somebody"), kubeapi.FollowOptions{Refused: time.Second})
	await.True(t, "four kinds forbidden", func() bool { return f.Errors() == 4 && f.Snapshot() != nil })
	if text := f.Issues().String(); !strings.Contains(text, `apiGroups ["networking.istio.io"], resources ["serviceentries"], verbs ["`) {
		t.Error(text)
	}
	s.Apply(rules(`"", discovery.k8s.io, networking.istio.io`, `"*"`))
	await.True(t, "none forbidden", func() bool { return f.Errors() == 0 && f.leads("first.example.com") })
}

// away ends the API server while it is followed: what was known stands, through a restart
// too, and what changed meanwhile comes when it is back.
func away(t *testing.T, s *apiserver.Server, c *kubeapi.Cluster) {
	ctx, journal := context.Background(), t.TempDir()
	apply := func(name, host string) {
		t.Helper()
		if _, _, err := c.Apply(ctx, kubeapi.ServiceEntries, []byte(entry(name, host))); err != nil {
			t.Fatal(err)
		}
	}
	apply("kept", "kept.example.com")
	f := follow(t, s.Kubeconfig(), kubeapi.FollowOptions{Journal: journal})
	other := follow(t, s.Kubeconfig(), kubeapi.FollowOptions{})
	await.True(t, "an entry", func() bool { return f.leads("kept.example.com") && other.leads("kept.example.com") })
	s.Stop()
	await.True(t, "that it is away", func() bool { since, _ := f.feed.Away(); return !since.IsZero() })
	if !f.leads("kept.example.com") {
		t.Error("what was known is gone")
	}
	f.stop()
	f = follow(t, s.Kubeconfig(), kubeapi.FollowOptions{Journal: journal})
	await.True(t, "what was known, from the journal", func() bool { return f.leads("kept.example.com") })
	s.Restart()
	apply("later", "later.example.com")
	began := time.Now()
	for name, f := range map[string]*store{"started without it": f, "running": other} {
		await.True(t, "what changed, at one that was "+name, func() bool { return f.leads("later.example.com") })
	}
	t.Logf("followed again after %v", time.Since(began).Round(time.Millisecond))
	if since, err := f.feed.Away(); !since.IsZero() {
		t.Errorf("still away: %v", err)
	}
}

// many has 2 000 ServiceEntries (200 beside other tests) created and then changed, and
// measures when a change is in force: from the API server's answer to the writer, to a snapshot that has
// it. docs/performance.md's figure for a pod adds the proxy's share.
func many(t *testing.T, s *apiserver.Server, c *kubeapi.Cluster) {
	n, writers := 200, 16
	if os.Getenv(world.WantedEnv) != "" { // as in `make e2e`
		n = 2000
	}
	f := follow(t, s.Kubeconfig(), kubeapi.FollowOptions{Journal: t.TempDir()})
	await.True(t, "a snapshot", func() bool { return f.Snapshot() != nil })
	write := func(what string, host func(int) string) {
		written := make([]time.Time, n)
		failed := make(chan error, n)
		work := make(chan int)
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for i := range work {
					if _, _, err := c.Apply(context.Background(), kubeapi.ServiceEntries, []byte(entry(fmt.Sprintf("many-%d", i), host(i)))); err != nil {
						failed <- err
					}
					written[i] = time.Now()
				}
			})
		}
		var mu sync.Mutex
		seen := make([]time.Time, n)
		left := n
		look := func(snapshot *mesh.Snapshot) {
			mu.Lock()
			defer mu.Unlock()
			view, now := snapshot.View(mesh.Workload{Namespace: "default"}), time.Now()
			for i := range seen {
				if seen[i].IsZero() && view.Name(host(i)) != nil {
					seen[i] = now
					left--
				}
			}
		}
		f.Subscribe(look)
		began := time.Now()
		for i := range n {
			work <- i
		}
		close(work)
		all.Wait()
		took := time.Since(began)
		await.True(t, what+" in force", func() bool { mu.Lock(); defer mu.Unlock(); return left == 0 || len(failed) > 0 })
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		lags := make([]time.Duration, n)
		for i := range lags {
			lags[i] = max(0, seen[i].Sub(written[i]))
		}
		slices.Sort(lags)
		t.Logf("%d %s in %v by %d writers; in force after %v at the median, %v at p99, %v at most", n, what, took.Round(time.Millisecond),
			writers, lags[n/2].Round(time.Millisecond), lags[n*99/100].Round(time.Millisecond), lags[n-1].Round(time.Millisecond))
		if lags[n/2] > time.Second || lags[n*99/100] > 5*time.Second {
			t.Errorf("that takes too long")
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	write("created", func(i int) string { return fmt.Sprintf("many-%d.example.com", i) })
	t.Logf("they take %d KB of heap", (heap()-before)>>10)
	write("changed", func(i int) string { return fmt.Sprintf("changed-%d.example.com", i) })
}
