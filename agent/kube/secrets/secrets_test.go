package secrets

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

var partner = kubeapi.Key{Namespace: "shop", Name: "partner"}

func secretWith(crt string) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"shop","name":"partner"},"type":"kubernetes.io/tls","data":{"tls.crt":%q,"other":"eA=="}}`,
		base64.StdEncoding.EncodeToString([]byte(crt)))
}

// run has a Source that reads again as soon as it may, until the test or stop ends it.
func run(t *testing.T, server Server, dir string, change ...func(*times)) (s *Source, stop func()) {
	t.Helper()
	s = New(server, dir, slog.New(slog.DiscardHandler))
	s.times.refresh, s.times.missed = 20*time.Millisecond, 20*time.Millisecond
	for _, f := range change {
		f(&s.times)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return s, stop
}

func (s *Source) crt(t *testing.T) string {
	t.Helper()
	content, err := s.Read("shop", "partner")
	if err != nil {
		return err.Error()
	}
	if _, there := content["other"]; there {
		t.Error("a key is kept that TLS has no use for")
	}
	return string(content["tls.crt"])
}

func TestASecretIsReadByItsNameAndFollowed(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Secrets, secretWith("one"))
	s, _ := run(t, server.Cluster(), t.TempDir())
	first, err := s.Version("shop", "partner")
	if err != nil || s.crt(t) != "one" {
		t.Fatalf("%v, %v, %s", first, err, s.crt(t))
	}
	server.Put(kubeapi.Secrets, secretWith("two"))
	await.True(t, "the change is read", func() bool { return s.crt(t) == "two" })
	if second, err := s.Version("shop", "partner"); err != nil || second == first {
		t.Errorf("the version is %v as before, %v", second, err)
	}
	if listed, watched := server.Asked("list", kubeapi.Secrets), server.Asked("watch", kubeapi.Secrets); listed+watched > 0 {
		t.Errorf("%d lists, %d watches", listed, watched)
	}
	server.Remove(kubeapi.Secrets, partner)
	await.True(t, "it is gone", func() bool { _, err := s.Version("shop", "partner"); return errors.Is(err, fs.ErrNotExist) })
}

func TestWhatIsMissingOrForbiddenIsSaid(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	s, _ := run(t, server.Cluster(), "")
	if _, err := s.Version("shop", "partner"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "kubectl create secret") {
		t.Error(err)
	}
	server.Refuse(kubeapi.Secrets, 403)
	await.True(t, "it is forbidden", func() bool {
		_, err := s.Version("shop", "partner")
		return errors.Is(err, kubeapi.ErrForbidden) && strings.Contains(err.Error(), "credentials.namespaces")
	})
	server.Refuse(kubeapi.Secrets, 0)
	server.Put(kubeapi.Secrets, secretWith("one"))
	await.True(t, "it is there", func() bool { return s.crt(t) == "one" })
	for _, name := range []string{"", "..", "../x", "a/b", ".hidden", "A", strings.Repeat("a", 254)} {
		if _, err := s.Version("shop", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// An agent that starts while the API server is away has what the one before had read.
func TestWhatWasReadOutlivesAnAgentWithoutTheServer(t *testing.T) {
	t.Parallel()
	server, dir := apitest.New(t), filepath.Join(t.TempDir(), "credentials")
	server.Put(kubeapi.Secrets, secretWith("one"))
	before, stop := run(t, server.Cluster(), dir)
	if got := before.crt(t); got != "one" {
		t.Fatal(got)
	}
	server.Stop()
	await.True(t, "the server was missed", func() bool {
		before.mu.Lock()
		defer before.mu.Unlock()
		return before.all[partner].warned != ""
	})
	if got := before.crt(t); got != "one" {
		t.Error("while the server is away: ", got)
	}
	stop()
	after, _ := run(t, server.Cluster(), dir)
	if got := after.crt(t); got != "one" {
		t.Error("after a restart: ", got)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "shop"): 0o700, filepath.Join(dir, "shop", "partner.json"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	server.Start()
	server.Remove(kubeapi.Secrets, partner)
	await.True(t, "a Secret that is gone leaves no file", func() bool {
		after.crt(t)
		_, err := os.Stat(filepath.Join(dir, "shop", "partner.json"))
		return errors.Is(err, fs.ErrNotExist)
	})
}

// A server that does not answer holds a connection up for a bounded time.
func TestTheFirstConnectionWaitsAndNotForEver(t *testing.T) {
	t.Parallel()
	s := New(nil, "", slog.New(slog.DiscardHandler)) // nobody runs it
	s.times.answer = 10 * time.Millisecond
	if _, err := s.Version("shop", "partner"); !errors.Is(err, kubeapi.ErrUnreachable) {
		t.Error(err)
	}
}

// An API server that starts refuses for a moment what it gives: a credential that is used
// stays until that has stood for a while.
func TestARefusalTakesACredentialOnlyOnceItStands(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Secrets, secretWith("one"))
	s, _ := run(t, server.Cluster(), "")
	if got := s.crt(t); got != "one" {
		t.Fatal(got)
	}
	server.Refuse(kubeapi.Secrets, 403)
	await.True(t, "it was refused often", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.all[partner].refusals > refusedTimes
	})
	if got := s.crt(t); got != "one" {
		t.Error("refused for a moment: ", got)
	}
	s.mu.Lock()
	s.times.refused = time.Millisecond
	s.mu.Unlock()
	await.True(t, "it is taken", func() bool { _, err := s.Version("shop", "partner"); return errors.Is(err, kubeapi.ErrForbidden) })
}

// A credential that was withdrawn while nobody wanted it is not used by the first
// connection after that, unless the server does not answer.
func TestWhatNobodyWantedForAWhileIsReadAgainFirst(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Secrets, secretWith("one"))
	s, _ := run(t, server.Cluster(), t.TempDir(), func(t *times) { t.refresh, t.wanted = time.Millisecond, time.Second })
	quiet := func() bool { // it is not read any more
		s.mu.Lock()
		defer s.mu.Unlock()
		one := s.all[partner]
		return !one.reading && time.Since(one.due) > 2*s.times.refresh && time.Since(one.wanted) > s.times.wanted
	}
	if got := s.crt(t); got != "one" {
		t.Fatal(got)
	}
	await.True(t, "nobody wants it", quiet)
	server.Put(kubeapi.Secrets, secretWith("two"))
	if got := s.crt(t); got != "two" {
		t.Error("after a while: ", got)
	}
	await.True(t, "nobody wants it", quiet)
	server.Stop()
	if got := s.crt(t); got != "two" {
		t.Error("while the server is away: ", got)
	}
}

func TestWhatNobodyWantsAnyMoreIsLetGo(t *testing.T) {
	t.Parallel()
	server, dir := apitest.New(t), t.TempDir()
	server.Put(kubeapi.Secrets, secretWith("one"))
	in := func(name string) string { return filepath.Join(dir, "gone", name) }
	old, young, torn, written := in("old.json"), in("young.json"), in(".torn.json-123"), in(".written.json-456")
	os.MkdirAll(filepath.Dir(old), 0o700)
	for _, path := range []string{old, young, torn, written} {
		os.WriteFile(path, []byte("{}"), 0o600)
	}
	for _, path := range []string{old, torn} {
		os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour))
	}
	os.Chtimes(young, time.Time{}, time.Now().Add(time.Hour))
	s, _ := run(t, server.Cluster(), dir, func(t *times) { t.wanted, t.kept = 100*time.Millisecond, 100*time.Millisecond })
	if got := s.crt(t); got != "one" {
		t.Fatal(got)
	}
	await.True(t, "it is let go, and its file", func() bool {
		s.nudge()
		s.mu.Lock()
		defer s.mu.Unlock()
		_, err := os.Stat(filepath.Join(dir, "shop", "partner.json"))
		return len(s.all)+len(s.of) == 0 && errors.Is(err, fs.ErrNotExist)
	})
	for _, path := range []string{old, torn} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, which nobody has a use for, is still there: %v", path, err)
		}
	}
	for _, path := range []string{young, written} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// What is not there takes no room longer than somebody wants it.
func TestWhatIsNotThereIsForgottenFirst(t *testing.T) {
	t.Parallel()
	s, now := New(nil, "", slog.New(slog.DiscardHandler)), time.Now()
	for name, content := range map[string]map[string][]byte{"there": {"a": nil}, "missing": nil} {
		key := kubeapi.Key{Namespace: "shop", Name: name}
		s.all[key] = &secret{key: key, content: content, wanted: now.Add(-usual.wanted - 1), due: now}
		s.of["shop"]++
	}
	if due, _ := s.due(now); len(due) > 0 || len(s.all) != 1 || s.of["shop"] != 1 || s.all[kubeapi.Key{Namespace: "shop", Name: "there"}] == nil {
		t.Errorf("%d are read; left are %v, %v", len(due), s.all, s.of)
	}
}

// Who writes resources in one namespace cannot take the room of others.
func TestANamespaceHasItsPartOfTheRoom(t *testing.T) {
	t.Parallel()
	s := New(nil, "", slog.New(slog.DiscardHandler)) // nobody runs it
	s.times.answer = 0
	for i := range mostOfNamespace {
		if _, err := s.Version("flood", fmt.Sprint("n", i)); !errors.Is(err, kubeapi.ErrUnreachable) {
			t.Fatal(err)
		}
	}
	if _, err := s.Version("flood", "another"); err == nil || !strings.Contains(err.Error(), `of namespace "flood"`) {
		t.Error(err)
	}
	if _, err := s.Version("shop", "partner"); !errors.Is(err, kubeapi.ErrUnreachable) {
		t.Error(err)
	}
}

// silent is a server that takes requests and answers none.
type silent struct{ asked chan struct{} }

func (s silent) Get(ctx context.Context, _ kubeapi.Kind, _ kubeapi.Key) (kubeapi.Object, error) {
	s.asked <- struct{}{}
	<-ctx.Done()
	return kubeapi.Object{}, ctx.Err()
}

// What is known and wanted all the time is given at once, however long it takes the
// server to tell it anew.
func TestASlowServerHoldsUpNobodyWhoseSecretIsKnown(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "credentials")
	server := apitest.New(t)
	server.Put(kubeapi.Secrets, secretWith("one"))
	before, stop := run(t, server.Cluster(), dir)
	if got := before.crt(t); got != "one" {
		t.Fatal(got)
	}
	stop()
	slow := silent{make(chan struct{}, 1)}
	s, _ := run(t, slow, dir, func(t *times) { t.answer = 10 * time.Millisecond })
	if got := s.crt(t); got != "one" { // waits, since it was another agent that read it
		t.Fatal(got)
	}
	<-slow.asked
	s.times.answer = time.Hour
	await.True(t, "reading is late", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Since(s.all[partner].due) > 2*s.times.refresh
	})
	if got := s.crt(t); got != "one" {
		t.Error(got)
	}
}

// A namespace that wants ever so many does not have the others' wait behind all of them.
func TestNamespacesTakeTurnsAtBeingRead(t *testing.T) {
	t.Parallel()
	s := New(nil, "", slog.New(slog.DiscardHandler)) // nobody runs it
	s.times.answer = 0
	for i := range 2 * places {
		s.Version("many", fmt.Sprint("n", i))
	}
	first, _ := s.due(time.Now())
	s.Version("shop", "partner")
	if more, _ := s.due(time.Now()); len(first) != places || len(more) != 0 {
		t.Fatalf("%d are read at once, and %d beside them", len(first), len(more))
	}
	first[0].reading = false // has been read
	first[0].due = time.Now().Add(time.Hour)
	s.at["many"]--
	if next, _ := s.due(time.Now()); len(next) != 1 || next[0].key != partner {
		t.Errorf("next is %v", next)
	}
}
