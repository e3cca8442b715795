package kubeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func testFeed(t *testing.T, dir string) (*Feed, *follow) {
	t.Helper()
	f := (&Cluster{name: "test"}).Feed(FollowOptions{Journal: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	f.Follow(ServiceEntries, Selector{}, func(Delta) {})
	return f, f.follows[0]
}

func testObject(t *testing.T, name, value string) Object {
	t.Helper()
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name, "namespace": "n"}, "v": value})
	if err != nil {
		t.Fatal(err)
	}
	o, err := object(data)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// life is one process: it replays, is told of changes, keeps, and gives what it replayed.
func life(t *testing.T, dir string, changes map[string]string) map[string]string {
	t.Helper()
	f, w := testFeed(t, dir)
	k, err := f.replay()
	if err != nil {
		t.Fatal(err)
	}
	defer k.lock.Close()
	had := map[string]string{}
	for key, o := range w.changed {
		var v struct{ V string }
		if err := json.Unmarshal(o.JSON, &v); err != nil {
			t.Fatal(err)
		}
		had[key.Name] = v.V
	}
	f.deliver()
	tellAll(t, f, w, changes)
	k.keep()
	return had
}

// tellAll is the server's list where there is none yet, else changes; "" removes.
func tellAll(t *testing.T, f *Feed, w *follow, changes map[string]string) {
	t.Helper()
	f.mu.Lock()
	for name, v := range changes {
		if v == "" {
			w.remove(Key{"n", name})
		} else {
			w.put(testObject(t, name, v), "")
		}
	}
	w.complete, w.dirty = true, true
	f.mu.Unlock()
	f.deliver()
}

func want(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: has %v, want %v", what, got, want)
	}
}

func TestAJournalGoesFromLifeToLife(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want(t, "first", life(t, dir, map[string]string{"a": "1", "b": "1"}), map[string]string{})
	want(t, "second", life(t, dir, map[string]string{"a": "2", "b": "", "c": "1"}), map[string]string{"a": "1", "b": "1"})
	want(t, "third", life(t, dir, nil), map[string]string{"a": "2", "c": "1"})
	want(t, "fourth", life(t, dir, map[string]string{"a": "", "c": ""}), map[string]string{"a": "2", "c": "1"})
	f, w := testFeed(t, dir)
	if k, err := f.replay(); err != nil || !w.complete {
		t.Errorf("an empty journal says that there is nothing: complete %v, %v", w.complete, err)
	} else {
		k.lock.Close()
	}
}

// Whatever a crash leaves of the file's end, what comes before it counts, and what is
// written afterwards is not lost behind the torn line.
func TestATornEndCostsNoMoreThanItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	life(t, dir, map[string]string{"a": "1"})
	life(t, dir, map[string]string{"b": "1"})
	path := filepath.Join(dir, "serviceentries.journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last; cut < len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, fmt.Sprint("cut at ", cut), life(t, dir, map[string]string{"c": "1"}), map[string]string{"a": "1"})
		want(t, fmt.Sprint("after a cut at ", cut), life(t, dir, nil), map[string]string{"a": "1", "c": "1"})
	}
}

func TestADamagedLineCostsItsObject(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	life(t, dir, map[string]string{"a": "1", "b": "1", "c": "1"})
	path := filepath.Join(dir, "serviceentries.journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(whole, []byte(`"name":"b"`), []byte(`"name":"x"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, "damaged", life(t, dir, map[string]string{"d": "1"}), map[string]string{"a": "1", "c": "1"})
	want(t, "written anew", life(t, dir, nil), map[string]string{"a": "1", "c": "1", "d": "1"})
}

// A file whose first line is not this kind's is none: what it has is not all there is.
func TestAFileOfSomethingElseIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "serviceentries.journal"), []byte("something\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, w := testFeed(t, dir)
	k, err := f.replay()
	if err != nil {
		t.Fatal(err)
	}
	k.lock.Close()
	if w.complete {
		t.Error("it is taken for all there is")
	}
	want(t, "first", life(t, dir, map[string]string{"a": "1"}), map[string]string{})
	want(t, "second", life(t, dir, nil), map[string]string{"a": "1"})
}

func TestAJournalStaysSmall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, w := testFeed(t, dir)
	k, err := f.replay()
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 4<<10)
	for i := range 200 {
		tellAll(t, f, w, map[string]string{"a": fmt.Sprint(i, big), "b": "1"})
		k.keep()
	}
	k.lock.Close()
	info, err := os.Stat(filepath.Join(dir, "serviceentries.journal"))
	if err != nil || info.Size() > slack+4*int64(len(big)) {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	want(t, "after all", life(t, dir, nil), map[string]string{"a": "199" + big, "b": "1"})
}

// Of two agents that overlap the older one writes; the newer one does when it has ended,
// and has lost nothing.
func TestOneAtATimeWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	life(t, dir, map[string]string{"a": "1", "b": "1"})
	older, ow := testFeed(t, dir)
	ok, err := older.replay()
	if err != nil {
		t.Fatal(err)
	}
	older.deliver()
	ok.keep()
	newer, nw := testFeed(t, dir)
	nk, err := newer.replay()
	if err != nil {
		t.Fatal(err)
	}
	newer.deliver()
	tellAll(t, newer, nw, map[string]string{"c": "1", "b": ""})
	nk.keep()
	if nk.have {
		t.Fatal("two have the lock")
	}
	tellAll(t, older, ow, map[string]string{"a": "2", "old": "1"})
	ok.keep()
	ok.lock.Close()
	tellAll(t, newer, nw, map[string]string{"a": "2"})
	nk.keep()
	nk.lock.Close()
	want(t, "the next", life(t, dir, nil), map[string]string{"a": "2", "c": "1"})
}

// A file that somebody takes away is not made anew of what changes later, which would be
// taken for all there is, but of the next list, for which it asks.
func TestAFileTakenAwayIsMadeOfTheNextList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	life(t, dir, map[string]string{"a": "1", "b": "1"})
	f, w := testFeed(t, dir)
	asked := 0
	w.restart = func() { asked++ }
	k, err := f.replay()
	if err != nil {
		t.Fatal(err)
	}
	defer k.lock.Close()
	f.deliver()
	k.keep()
	path := filepath.Join(dir, "serviceentries.journal")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	tellAll(t, f, w, map[string]string{"b": "", "c": "1"})
	k.keep()
	k.keep()
	if _, err := os.Stat(path); !os.IsNotExist(err) || asked != 1 {
		t.Errorf("there is one: %v; asked %d times for all there is", err, asked)
	}
	w.Replace([]any{
		&item{ObjectMeta: metav1.ObjectMeta{Name: "a"}, object: testObject(t, "a", "1")},
		&item{ObjectMeta: metav1.ObjectMeta{Name: "c"}, object: testObject(t, "c", "2")},
	}, "")
	k.keep() // not before it was told
	f.deliver()
	k.keep()
	k.lock.Close()
	want(t, "the next", life(t, dir, nil), map[string]string{"a": "1", "c": "2"})
}

func TestLinesOfAJournal(t *testing.T) {
	t.Parallel()
	text := line('+', []byte(`{"a":1}`))
	if op, data, ok := unline(text); op != '+' || string(data) != `{"a":1}` || !ok {
		t.Errorf("%c %s %v", op, data, ok)
	}
	for i := range text {
		other := slices.Clone(text)
		other[i] ^= 1
		if _, _, ok := unline(other); ok {
			t.Errorf("a flipped bit at %d is not noticed: %q", i, other)
		}
	}
}

func FuzzUnline(f *testing.F) {
	f.Add(line('+', []byte(`{"metadata":{"name":"a"}}`)))
	f.Add([]byte("00000000 + \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if op, data, ok := unline(text); ok && !bytes.Equal(line(op, data), bytes.Join([][]byte{bytes.ToLower(text[:8]), text[8:]}, nil)) {
			t.Errorf("%q is not what it is read as", text)
		}
	})
}

// The waits of client-go's reflector end when its context does.
func TestAWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	c := untilDone{ctx: ctx}.After(time.Hour)
	cancel()
	select {
	case <-c:
	case <-time.After(await.Patience):
		t.Error("it waits")
	}
}
