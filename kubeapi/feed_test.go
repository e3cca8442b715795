package kubeapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// listener is who follows a kind: what it has been told, as it stands.
type listener struct {
	mu       sync.Mutex
	objects  map[kubeapi.Key]kubeapi.Object
	complete bool
	err      error
	changes  int
	working  bool
	bad      string
}

func (l *listener) update(d kubeapi.Delta) {
	l.mu.Lock()
	if l.working {
		l.bad = "called while it works"
	}
	l.working = true
	if l.objects == nil {
		l.objects = map[kubeapi.Key]kubeapi.Object{}
	}
	for _, o := range d.Changed {
		l.objects[o.Key] = o
	}
	for _, key := range d.Gone {
		if _, there := l.objects[key]; !there {
			l.bad = "gone without having come: " + key.String()
		}
		delete(l.objects, key)
	}
	l.complete, l.err = d.Complete, d.Err
	l.changes += len(d.Changed)
	l.working = false
	l.mu.Unlock()
}

// has says whether exactly these objects are there, each as key=spec.v.
func (l *listener) has(want ...string) func() string {
	return func() string {
		l.mu.Lock()
		defer l.mu.Unlock()
		var have []string
		for key, o := range l.objects {
			_, v, _ := strings.Cut(string(o.JSON), `"v":"`)
			v, _, _ = strings.Cut(v, `"`)
			have = append(have, key.String()+"="+v)
		}
		missing := ""
		for _, w := range want {
			found := false
			for _, h := range have {
				found = found || h == w
			}
			if !found {
				missing = w
			}
		}
		if missing != "" || len(have) != len(want) || !l.complete || l.bad != "" {
			return fmt.Sprintf("has %v, complete %v, error %v %s; want %v", have, l.complete, l.err, l.bad, want)
		}
		return ""
	}
}

// fails says whether the kind's error is this.
func (l *listener) fails(want error) func() string {
	return func() string {
		l.mu.Lock()
		defer l.mu.Unlock()
		if want == nil && l.err != nil || want != nil && !errors.Is(l.err, want) {
			return fmt.Sprintf("error %v, want %v", l.err, want)
		}
		return ""
	}
}

func entry(namespace, name, v string) string {
	return fmt.Sprintf(`{"metadata":{"namespace":%q,"name":%q},"spec":{"v":%q}}`, namespace, name, v)
}

// run runs a Feed until the test ends, or what it returns is called.
func run(t *testing.T, f *kubeapi.Feed) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(await.Patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func follow(t *testing.T, s *apitest.Server, o kubeapi.FollowOptions, k kubeapi.Kind) (*listener, *kubeapi.Feed, func()) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(&heard.Text{}, nil))
	}
	f, l := s.Cluster().Feed(o), &listener{}
	f.Follow(k, kubeapi.Selector{}, l.update)
	return l, f, run(t, f)
}

func TestFollowTellsAllAndThenWhatChanges(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"), entry("shop", "b", "1"))
	l, _, _ := follow(t, s, kubeapi.FollowOptions{}, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=1", "shop/b=1"))
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "2"), entry("other", "c", "1"))
	s.Remove(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "shop", Name: "b"})
	await.Silence(t, l.has("shop/a=2", "other/c=1"))
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.objects[kubeapi.Key{Namespace: "shop", Name: "a"}]
	if a.UID == "" || a.Generation != 2 || time.Since(a.Created) > time.Minute || a.Remembered {
		t.Errorf("object %+v", a)
	}
	for _, left := range []string{"managedFields", "resourceVersion"} {
		if strings.Contains(string(a.JSON), left) {
			t.Errorf("%s is still there: %s", left, a.JSON)
		}
	}
	if !strings.Contains(string(a.JSON), `"kind":"ServiceEntry"`) {
		t.Errorf("no kind: %s", a.JSON)
	}
}

// Before Kubernetes 1.32 there were no streamed lists: what is told is the same.
func TestAnOlderServerIsListed(t *testing.T) {
	t.Parallel()
	key := kubeapi.Key{Namespace: "shop", Name: "web"}
	told := map[bool]string{}
	for _, old := range []bool{false, true} {
		s := apitest.New(t)
		if old {
			s.Old()
		}
		s.Put(kubeapi.Services, `{"metadata":{"namespace":"shop","name":"web","uid":"u","creationTimestamp":"2026-11-26T12:00:00Z"},"spec":{"v":"1","ports":[{"port":80}],"big":9007199254740993,"f":1.5}}`)
		l, _, _ := follow(t, s, kubeapi.FollowOptions{}, kubeapi.Services)
		await.Silence(t, l.has("shop/web=1"))
		if listed := s.Asked("list", kubeapi.Services) > 0; listed != old {
			t.Errorf("old %t: listed %t", old, listed)
		}
		l.mu.Lock()
		told[old] = string(l.objects[key].JSON)
		l.mu.Unlock()
	}
	if told[true] != told[false] || !strings.Contains(told[true], `"kind":"Service"`) {
		t.Errorf("listed  %s\nstreamed %s", told[true], told[false])
	}
}

// A directory that cannot be used takes the memory, and not the following.
func TestWithoutAPlaceForJournalsItIsFollowedAllTheSame(t *testing.T) {
	t.Parallel()
	s, log := apitest.New(t), &heard.Text{}
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, _, _ := follow(t, s, kubeapi.FollowOptions{Journal: filepath.Join(file, "cluster"), Log: slog.New(slog.NewTextHandler(log, nil))}, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=1"))
	if !strings.Contains(log.String(), "cannot be kept") {
		t.Error(log)
	}
}

func TestAnEmptyKindIsComplete(t *testing.T) {
	t.Parallel()
	l, _, _ := follow(t, apitest.New(t), kubeapi.FollowOptions{}, kubeapi.Sidecars)
	await.Silence(t, l.has())
}

func TestTheServerSelects(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Pods, `{"metadata":{"namespace":"x","name":"mine"},"spec":{"nodeName":"one","v":"1"},"status":{"phase":"Running","conditions":[{}]}}`,
		`{"metadata":{"namespace":"x","name":"other"},"spec":{"nodeName":"two","v":"1"}}`)
	s.Put(kubeapi.EndpointSlices, `{"metadata":{"namespace":"x","name":"head","labels":{"service.kubernetes.io/headless":""}},"v":"1"}`,
		`{"metadata":{"namespace":"x","name":"other"}}`)
	f := s.Cluster().Feed(kubeapi.FollowOptions{})
	pods, slices := &listener{}, &listener{}
	f.Follow(kubeapi.Pods, kubeapi.Selector{Fields: "spec.nodeName=one"}, pods.update)
	f.Follow(kubeapi.EndpointSlices, kubeapi.Selector{Labels: "service.kubernetes.io/headless"}, slices.update)
	run(t, f)
	await.Silence(t, pods.has("x/mine=1"))
	await.Silence(t, slices.has("x/head=1"))
	if json := string(pods.objects[kubeapi.Key{Namespace: "x", Name: "mine"}].JSON); !strings.Contains(json, `"status":{"phase":"Running"}`) {
		t.Errorf("a pod's status is %s", json)
	}
}

// What changes of an object that nobody reads is no change.
func TestAHeartbeatIsNoNews(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Nodes, `{"metadata":{"name":"one"},"spec":{"podCIDRs":["10.0.0.0/24"]},"v":"1"}`)
	l, _, _ := follow(t, s, kubeapi.FollowOptions{}, kubeapi.Nodes)
	await.Silence(t, l.has("one=1"))
	s.Touch(kubeapi.Nodes, kubeapi.Key{Name: "one"})
	s.Put(kubeapi.Nodes, `{"metadata":{"name":"two"},"v":"1"}`)
	await.Silence(t, l.has("one=1", "two=1"))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes != 2 {
		t.Errorf("%d objects told, two came", l.changes)
	}
}

func TestWhoFollowsTheSameSharesOneWatch(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Namespaces, `{"metadata":{"name":"shop"},"v":"1"}`)
	f := s.Cluster().Feed(kubeapi.FollowOptions{})
	one, two := &listener{}, &listener{}
	f.Follow(kubeapi.Namespaces, kubeapi.Selector{}, one.update)
	f.Follow(kubeapi.Namespaces, kubeapi.Selector{}, two.update)
	run(t, f)
	await.Silence(t, one.has("shop=1"))
	await.Silence(t, two.has("shop=1"))
	if n := s.Asked("watch", kubeapi.Namespaces); n != 1 {
		t.Errorf("%d watches", n)
	}
}

func TestAServerThatIsAwayAndComesBack(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"), entry("shop", "b", "1"))
	log := &heard.Text{}
	l, f, _ := follow(t, s, kubeapi.FollowOptions{Log: slog.New(slog.NewTextHandler(log, nil))}, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=1", "shop/b=1"))
	s.Stop()
	await.Silence(t, func() string {
		if since, err := f.Away(); since.IsZero() || err == nil {
			return fmt.Sprintf("away since %v, error %v", since, err)
		}
		return ""
	})
	await.Silence(t, l.fails(kubeapi.ErrUnreachable))
	await.Silence(t, l.has("shop/a=1", "shop/b=1")) // what was known stands
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "2"))
	s.Remove(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "shop", Name: "b"})
	s.Start()
	await.Silence(t, l.has("shop/a=2"))
	await.Silence(t, l.fails(nil))
	if since, _ := f.Away(); !since.IsZero() {
		t.Errorf("away since %v", since)
	}
	if text := log.String(); strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 {
		t.Errorf("logged: %s", text)
	}
}

// A server that has forgotten where the watch was answers 410 Gone: all is listed again,
// and only what changed is told.
func TestAnOldWatchListsAgain(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"), entry("shop", "b", "1"))
	l, _, _ := follow(t, s, kubeapi.FollowOptions{}, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=1", "shop/b=1"))
	s.Stop()
	s.Remove(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "shop", Name: "b"})
	s.Start()
	s.Forget()
	await.Silence(t, l.has("shop/a=1"))
	s.Put(kubeapi.ServiceEntries, entry("shop", "c", "1"))
	await.Silence(t, l.has("shop/a=1", "shop/c=1"))
}

func TestAKindThatIsNotServed(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Serve(kubeapi.Sidecars, "")
	l, _, _ := follow(t, s, kubeapi.FollowOptions{}, kubeapi.Sidecars)
	await.Silence(t, l.fails(kubeapi.ErrMissing))
	await.Silence(t, l.has())
	s.Put(kubeapi.Sidecars, entry("shop", "a", "1"))
	s.Serve(kubeapi.Sidecars, "v1")
	await.Silence(t, l.has("shop/a=1"))
	await.Silence(t, l.fails(nil))
}

// What was known of a kind that the server has long not had goes, out of the journal too.
func TestAKindThatIsMissingForLongIsEmpty(t *testing.T) {
	t.Parallel()
	s, o := apitest.New(t), kubeapi.FollowOptions{Journal: t.TempDir()}
	s.Put(kubeapi.Sidecars, entry("shop", "a", "1"))
	l, _, stop := follow(t, s, o, kubeapi.Sidecars)
	await.Silence(t, l.has("shop/a=1"))
	s.Serve(kubeapi.Sidecars, "")
	await.Silence(t, l.fails(kubeapi.ErrMissing))
	await.Silence(t, l.has("shop/a=1"))
	stop()
	o.Missing = time.Millisecond
	l, _, stop = follow(t, s, o, kubeapi.Sidecars)
	await.Silence(t, l.fails(kubeapi.ErrMissing))
	await.Silence(t, l.has())
	stop()
	s.Stop()
	l, _, _ = follow(t, s, o, kubeapi.Sidecars)
	await.Silence(t, l.has())
}

// A journal that is removed beneath who writes it is there again, with all there is.
func TestAJournalThatIsRemovedIsWrittenAgain(t *testing.T) {
	t.Parallel()
	s, o := apitest.New(t), kubeapi.FollowOptions{Journal: t.TempDir()}
	s.Put(kubeapi.Sidecars, entry("shop", "a", "1"))
	l, _, stop := follow(t, s, o, kubeapi.Sidecars)
	await.Silence(t, l.has("shop/a=1"))
	path := filepath.Join(o.Journal, "sidecars.journal")
	written := func() bool { _, err := os.Stat(path); return err == nil }
	await.True(t, "the journal is written", written)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.Put(kubeapi.Sidecars, entry("shop", "b", "1"))
	await.True(t, "it is written again", written)
	stop()
	s.Stop()
	l, _, _ = follow(t, s, o, kubeapi.Sidecars)
	await.Silence(t, l.has("shop/a=1", "shop/b=1"))
}

// Istio's definitions before 1.22 have no v1.
func TestAnOlderVersionIsFollowed(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Serve(kubeapi.ServiceEntries, "v1alpha3")
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"))
	l, _, _ := follow(t, s, kubeapi.FollowOptions{}, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=1"))
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "2"))
	await.Silence(t, l.has("shop/a=2"))
}

func TestAKindThatIsForbidden(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"))
	s.Refuse(kubeapi.ServiceEntries, 403)
	l, _, _ := follow(t, s, kubeapi.FollowOptions{Refused: time.Millisecond}, kubeapi.ServiceEntries)
	await.Silence(t, l.fails(kubeapi.ErrForbidden))
	await.Silence(t, l.has())
	l.mu.Lock()
	text := l.err.Error()
	l.mu.Unlock()
	for _, want := range []string{`apiGroups ["networking.istio.io"]`, `resources ["serviceentries"]`, `verbs ["`} {
		if !strings.Contains(text, want) {
			t.Errorf("the error does not say %s: %s", want, text)
		}
	}
	s.Refuse(kubeapi.ServiceEntries, 0)
	await.Silence(t, l.has("shop/a=1"))
	await.Silence(t, l.fails(nil))
}

func TestWhatIsKnownOutlivesARestart(t *testing.T) {
	t.Parallel()
	s, dir := apitest.New(t), t.TempDir()
	o := kubeapi.FollowOptions{Journal: dir}
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"), entry("shop", "b", "1"))
	l, _, stop := follow(t, s, o, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=1", "shop/b=1"))
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "2"))
	s.Remove(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "shop", Name: "b"})
	await.Silence(t, l.has("shop/a=2"))
	stop()
	s.Stop()
	l, f, stop := follow(t, s, o, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=2"))
	if !l.objects[kubeapi.Key{Namespace: "shop", Name: "a"}].Remembered {
		t.Error("it does not say that it is remembered")
	}
	await.Silence(t, func() string {
		if since, _ := f.Away(); since.IsZero() {
			return "not away"
		}
		return ""
	})
	s.Put(kubeapi.ServiceEntries, entry("shop", "c", "1"))
	s.Start()
	await.Silence(t, l.has("shop/a=2", "shop/c=1"))
	stop()
	l, _, _ = follow(t, s, o, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=2", "shop/c=1"))
	info, err := os.Stat(filepath.Join(dir, "serviceentries.journal"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// Without journal and server nothing is known, and nobody is told that that is all.
func TestNothingIsCompleteThatNobodyTold(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Stop()
	l, _, _ := follow(t, s, kubeapi.FollowOptions{Journal: t.TempDir()}, kubeapi.ServiceEntries)
	await.Silence(t, l.fails(kubeapi.ErrUnreachable))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.complete {
		t.Error("complete")
	}
}

// Keep has a restart begin with what was good.
func TestKeepGoesBeforeWhatCame(t *testing.T) {
	t.Parallel()
	s, o := apitest.New(t), kubeapi.FollowOptions{Journal: t.TempDir()}
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "good"))
	f, l := s.Cluster().Feed(o), &listener{}
	f.Follow(kubeapi.ServiceEntries, kubeapi.Selector{}, func(d kubeapi.Delta) {
		for _, one := range d.Changed {
			if strings.Contains(string(one.JSON), "bad") {
				f.Keep(kubeapi.ServiceEntries, one.Key)
			}
		}
		l.update(d)
	})
	stop := run(t, f)
	await.Silence(t, l.has("shop/a=good"))
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "bad"))
	await.Silence(t, l.has("shop/a=bad"))
	stop()
	s.Stop()
	l, _, _ = follow(t, s, o, kubeapi.ServiceEntries)
	await.Silence(t, l.has("shop/a=good"))
	s.Start()
	await.Silence(t, l.has("shop/a=bad"))
}

func TestPodsAndSecretsAreNotWrittenDown(t *testing.T) {
	t.Parallel()
	s, dir := apitest.New(t), t.TempDir()
	for _, k := range []kubeapi.Kind{kubeapi.Pods, kubeapi.Secrets} {
		s.Put(k, entry("shop", "a", "1"))
		l, _, stop := follow(t, s, kubeapi.FollowOptions{Journal: dir}, k)
		await.Silence(t, l.has("shop/a=1"))
		stop()
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.journal")); len(left) > 0 {
		t.Errorf("written: %v", left)
	}
}

// A streamed list that opens after a refusal is not yet all there is.
func TestAKindIsFollowedAgainOnceItsListHasCome(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"))
	s.Refuse(kubeapi.ServiceEntries, 403)
	f, l := s.Cluster().Feed(kubeapi.FollowOptions{Refused: time.Millisecond}), &listener{}
	wrong := make(chan kubeapi.Delta, 100)
	f.Follow(kubeapi.ServiceEntries, kubeapi.Selector{}, func(d kubeapi.Delta) {
		if l.update(d); d.Complete && d.Err == nil && len(l.objects) == 0 {
			wrong <- d
		}
	})
	run(t, f)
	await.Silence(t, l.fails(kubeapi.ErrForbidden))
	await.Silence(t, l.has())
	s.Refuse(kubeapi.ServiceEntries, 0)
	await.Silence(t, l.has("shop/a=1"))
	await.Silence(t, l.fails(nil))
	if len(wrong) > 0 {
		t.Errorf("told as all there is: %+v", <-wrong)
	}
}

// A server that starts refuses what it will allow, for a moment. That is no emptiness, and
// is not written down as one.
func TestARefusalIsNotEmptinessAtOnce(t *testing.T) {
	t.Parallel()
	s, dir := apitest.New(t), t.TempDir()
	s.Put(kubeapi.ServiceEntries, entry("shop", "a", "1"))
	s.Refuse(kubeapi.ServiceEntries, 403)
	incomplete := func(l *listener) {
		t.Helper()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.complete {
			t.Error("complete, but nobody said that nothing is there")
		}
	}
	l, _, stop := follow(t, s, kubeapi.FollowOptions{Journal: dir}, kubeapi.ServiceEntries)
	await.Silence(t, l.fails(kubeapi.ErrForbidden))
	incomplete(l)
	stop()
	l, _, stop = follow(t, s, kubeapi.FollowOptions{Journal: dir, Refused: time.Millisecond}, kubeapi.ServiceEntries)
	await.Silence(t, l.has())
	stop()
	s.Stop()
	l, _, _ = follow(t, s, kubeapi.FollowOptions{Journal: dir}, kubeapi.ServiceEntries)
	await.Silence(t, l.fails(kubeapi.ErrUnreachable))
	incomplete(l)
}
