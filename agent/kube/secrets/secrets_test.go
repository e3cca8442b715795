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
func run(t *testing.T, server Server, dir string) (s *Source, stop func()) {
	t.Helper()
	s = New(server, dir, slog.New(slog.DiscardHandler))
	s.times.refresh, s.times.missed = 20*time.Millisecond, 20*time.Millisecond
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
