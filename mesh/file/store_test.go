package file

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// entryYAML registers host.example.com on port 80.
func entryYAML(host string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: %[1]s
spec:
  hosts:
  - %[1]s.example.com
  ports:
  - number: 80
    name: http
    protocol: HTTP
  resolution: DNS
`, host)
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// names lists the objects of a snapshot.
func names(s *mesh.Snapshot) string {
	var out []string
	for _, r := range s.Resources() {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// following is a store that runs, and what it has told.
type following struct {
	*Store
	log *heard.Text

	mu      sync.Mutex
	changed chan struct{}
	latest  *mesh.Snapshot
}

func follow(t testing.TB, dir string) *following {
	t.Helper()
	f := &following{log: &heard.Text{}, changed: make(chan struct{}, 1)}
	store, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	f.Store = store
	store.Subscribe(func(s *mesh.Snapshot) {
		f.mu.Lock()
		f.latest = s
		f.mu.Unlock()
		select {
		case f.changed <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f
}

// wait waits until the objects in force are the wanted ones and says how long it took.
func (f *following) wait(t testing.TB, want string) time.Duration {
	t.Helper()
	start := time.Now()
	f.until(t, "objects "+want, func() bool { return names(f.snapshot()) == want })
	return time.Since(start)
}

func (f *following) snapshot() *mesh.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest
}

func (f *following) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.After(await.Patience)
	for !holds() {
		select {
		case <-f.changed:
		case <-time.After(5 * time.Millisecond): // what is waited for may be a log line
		case <-limit:
			t.Fatalf("no %s; in force: %s\nlog:\n%s", what, names(f.snapshot()), f.log)
		}
	}
}

func TestAChangeIsInForceWithinASecond(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", entryYAML("a"))
	f := follow(t, dir)
	f.wait(t, "a")
	round := func() (slowest time.Duration) {
		step := func(change func(), want string) {
			change()
			slowest = max(slowest, f.wait(t, want))
		}
		step(func() { write(t, dir, "b.yml", entryYAML("b")) }, "a b")
		step(func() { write(t, dir, "b.yml", entryYAML("c")) }, "a c")
		step(func() { os.Rename(filepath.Join(dir, "b.yml"), filepath.Join(dir, "b.json")) }, "a c")
		step(func() { os.Rename(filepath.Join(dir, "b.json"), filepath.Join(dir, "b.txt")) }, "a")
		step(func() { write(t, dir, ".hidden.yaml", entryYAML("h")); write(t, dir, "d.yaml", entryYAML("d")) }, "a d")
		step(func() { os.Remove(filepath.Join(dir, "a.yaml")) }, "d")
		step(func() { write(t, dir, "a.yaml", entryYAML("a")) }, "a d")
		step(func() { os.Remove(filepath.Join(dir, "d.yaml")) }, "a")
		return slowest
	}
	slowest := round()
	for range 4 { // a busy machine holds one up, not each
		if slowest > time.Second {
			slowest = round()
		}
	}
	if slowest > time.Second {
		t.Errorf("a change took %s", slowest)
	}
}

func TestAFileWithAnErrorKeepsItsLastGoodContentAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", entryYAML("a")+"---\n"+entryYAML("b"))
	f := follow(t, dir)
	write(t, dir, "a.yaml", entryYAML("a2")+"---\n"+strings.Replace(entryYAML("b2"), "protocol: HTTP", "protocol: nonsense", 1))
	f.until(t, "complaint", func() bool { return strings.Contains(f.log.String(), "nonsense") })
	write(t, dir, "other.yaml", entryYAML("c"))
	f.wait(t, "a b c")
	if n := strings.Count(f.log.String(), "nonsense"); n != 1 {
		t.Errorf("the error was logged %d times:\n%s", n, f.log)
	}
	write(t, dir, "a.yaml", entryYAML("d"))
	f.wait(t, "c d")
	if issues := f.Issues(); issues.HasErrors() {
		t.Errorf("errors stay: %s", issues)
	}
	write(t, dir, "a.yaml", "kind: [")
	f.until(t, "complaint", func() bool { return f.Issues().HasErrors() })
	os.Remove(filepath.Join(dir, "a.yaml"))
	f.wait(t, "c")
}

func TestANoticeIsLoggedOnceThoughItsLineMoves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := strings.Replace(entryYAML("a"), "protocol: HTTP", "protocol: http", 1)
	write(t, dir, "a.yaml", old)
	f := follow(t, dir)
	write(t, dir, "a.yaml", entryYAML("b")+"---\n"+old)
	f.wait(t, "a b")
	write(t, dir, "a.yaml", strings.Replace(old, "http", "tcp", 2))
	f.until(t, "notice about tcp", func() bool { return strings.Contains(f.log.String(), "write TCP") })
	if n := strings.Count(f.log.String(), "write HTTP"); n != 1 {
		t.Errorf("the notice was logged %d times:\n%s", n, f.log)
	}
}

func TestAFileRenamedIntoPlaceIsInForceWithoutWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", entryYAML("a0"))
	f := follow(t, dir)
	fastest := time.Hour
	for i := range 20 { // the machine may be busy at any one
		name := fmt.Sprintf("a%d", i+1)
		write(t, dir, ".next", entryYAML(name))
		if err := os.Rename(filepath.Join(dir, ".next"), filepath.Join(dir, "a.yaml")); err != nil {
			t.Fatal(err)
		}
		fastest = min(fastest, f.wait(t, name))
	}
	if fastest >= settleTime {
		t.Errorf("the fastest took %s", fastest)
	}
}

func TestWhatResourcesMeanTogetherIsSaidAfterTheyAreInForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", entryYAML("a"))
	f := follow(t, dir)
	again := strings.Replace(entryYAML("b"), "b.example.com", "a.example.com", 1)
	write(t, dir, "b.yaml", again)
	f.wait(t, "a b")
	f.until(t, "warning", func() bool { return strings.Contains(f.log.String(), "is registered already by") })
	write(t, dir, "c.yaml", strings.Replace(again, "name: b", "name: c", 1))
	f.until(t, "second warning", func() bool { return len(f.Issues()) == 2 })
	os.Remove(filepath.Join(dir, "a.yaml"))
	f.wait(t, "b c")
	f.until(t, "warning less", func() bool { return len(f.Issues()) == 1 })
	if n := strings.Count(f.log.String(), "is registered already by"); n != 3 { // c's names b now
		t.Errorf("said %d times:\n%s", n, f.log)
	}
}

func TestACrowdIsLookedAtInTurn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 7 {
		write(t, dir, fmt.Sprintf("%d.yaml", i), entryYAML(fmt.Sprintf("n%d", i)))
	}
	store, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "5.yaml", entryYAML("changed"))
	for range 3 {
		if _, err := store.reload(look{part: 3}); err != nil {
			t.Fatal(err)
		}
		if got := names(store.Snapshot()); strings.Contains(got, "changed") != (store.looked >= "5.yaml") {
			t.Fatalf("%s after %s", got, store.looked)
		}
		if store.looked == "6.yaml" {
			return
		}
	}
	t.Error("the last files were never looked at")
}

func TestAFileThatIsWrittenInStepsIsReadWhenItIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "x.yaml", entryYAML("a"))
	f := follow(t, dir)
	bad := make(chan string, 1000)
	f.Subscribe(func(s *mesh.Snapshot) {
		if got := names(s); got != "a" && got != "b" {
			bad <- got
		}
	})
	for range 10 {
		for _, name := range []string{"b", "a"} {
			text := entryYAML(name)
			file, err := os.Create(filepath.Join(dir, "x.yaml")) // truncates
			if err != nil {
				t.Fatal(err)
			}
			for part := range slices.Chunk([]byte(text), 40) {
				file.Write(part)
			}
			file.Close()
			f.wait(t, name)
		}
	}
	for len(bad) > 0 {
		t.Errorf("in force meanwhile: %q", <-bad)
	}
}

func TestOpenListsTheErrorsOfEveryFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", "kind: Pod\n")
	write(t, dir, "b.yaml", entryYAML("Bad_Name"))
	write(t, dir, "c.yaml", entryYAML("c"))
	write(t, dir, "d.yaml", entryYAML("c"))
	_, err := Open(dir, Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"a.yaml:1:7: error", "Bad_Name", "d.yaml:4:9: error", "c.yaml:1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%s", want, err)
		}
	}
}

func TestADirectoryThatIsNotThereIsAClearError(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v", err)
	}
	write(t, filepath.Dir(dir), "none", "")
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v", err)
	}
}

func TestAnObjectMayMoveBetweenFilesAndAClashChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "b.yaml", entryYAML("x"))
	f := follow(t, dir)
	// a.yaml comes first by name, but b.yaml had the object before.
	write(t, dir, "a.yaml", entryYAML("x")+"---\n"+entryYAML("y"))
	f.until(t, "complaint", func() bool { return strings.Contains(f.log.String(), "is there already") })
	if got := names(f.Snapshot()); got != "x" {
		t.Errorf("in force: %s", got)
	}
	if issues := f.Issues(); !strings.Contains(issues.String(), "a.yaml:4:9: error") {
		t.Errorf("the newcomer is not the one complained about:\n%s", issues)
	}
	os.Remove(filepath.Join(dir, "b.yaml"))
	f.wait(t, "x y")
}

// Without notifications a look finds the new name a moment after the old one has gone.
func TestAFileThatIsRenamedStaysInForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", entryYAML("a"))
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	names := func() string { return names(s.Snapshot()) }
	again := func(how look) []string {
		unsettled, err := s.reload(how)
		if err != nil {
			t.Fatal(err)
		}
		return unsettled
	}
	next := func(unsettled []string) look {
		var p pending
		p.later(unsettled, time.Now())
		return p.look()
	}
	if err := os.Rename(filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	left := again(s.pollLook(0))
	if got := names(); got != "a" {
		t.Errorf("in force after the first look: %q", got)
	}
	if left = again(next(left)); names() != "a" || len(left) != 0 || s.files["a.yaml"] != nil || s.Snapshot().Resources()[0].Source.File != filepath.Join(dir, "b.yaml") {
		t.Errorf("in force after the second look: %q, and %v is left", names(), left)
	}
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	if again(next(again(s.pollLook(0)))); names() != "" {
		t.Errorf("in force after the file has gone: %q", names())
	}
}

func TestAConfigMapMountIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	publish := func(version string, files map[string]string) {
		real := filepath.Join(dir, "..v"+version)
		if err := os.Mkdir(real, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			write(t, real, name, text)
			if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
				os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name))
			}
		}
		os.Symlink("..v"+version, filepath.Join(dir, "..tmp"))
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("1", map[string]string{"x.yaml": entryYAML("one")})
	f := follow(t, dir)
	f.wait(t, "one")
	publish("2", map[string]string{"x.yaml": entryYAML("two")})
	if took := f.wait(t, "two"); took > time.Second {
		t.Errorf("took %s", took)
	}
}

func TestALinkIntoAnotherDirectoryIsFollowedWithoutNotification(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, elsewhere, "x.yaml", entryYAML("one"))
	os.Symlink(filepath.Join(elsewhere, "x.yaml"), filepath.Join(dir, "x.yaml"))
	f := follow(t, dir)
	write(t, elsewhere, "x.yaml", entryYAML("two"))
	f.wait(t, "two")
}

func TestADirectoryThatGoesKeepsEverythingInForceAndIsFollowedWhenItIsBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "config")
	os.Mkdir(dir, 0o755)
	write(t, dir, "a.yaml", entryYAML("a"))
	f := follow(t, dir)
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	f.until(t, "complaint", func() bool { return strings.Contains(f.log.String(), "cannot be read") })
	if got := names(f.Snapshot()); got != "a" {
		t.Errorf("in force: %q", got)
	}
	os.Mkdir(dir+".new", 0o755)
	write(t, dir+".new", "b.yaml", entryYAML("b"))
	os.Rename(dir+".new", dir)
	f.wait(t, "b")
	write(t, dir, "b.yaml", entryYAML("c"))
	f.wait(t, "c")
}

func TestAReaderNeverSeesHalfOfAStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := Directory{Path: dir}
	f := follow(t, dir)
	bad := make(chan string, 100)
	f.Subscribe(func(s *mesh.Snapshot) {
		if got := names(s); got != "" && got != "a b" {
			bad <- got
		}
	})
	for range 20 {
		if _, issues, err := d.Create(manifest.Stream{Name: "in", Data: []byte(entryYAML("a") + "---\n" + entryYAML("b"))}); err != nil || issues.HasErrors() {
			t.Fatal(err, issues)
		}
		f.wait(t, "a b")
		if _, err := d.Delete([]mesh.Identity{id("a"), id("b")}); err != nil {
			t.Fatal(err)
		}
		f.wait(t, "")
	}
	select {
	case got := <-bad:
		t.Errorf("seen: %s", got)
	default:
	}
}

func id(name string) mesh.Identity {
	return mesh.Identity{Kind: mesh.ServiceEntry, Namespace: "default", Name: name}
}
