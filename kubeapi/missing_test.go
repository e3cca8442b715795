package kubeapi

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What was known of a kind goes once the server has not had the kind for long without a break.
func TestOnlyAKindThatIsMissingForLongAtAStretchIsGone(t *testing.T) {
	t.Parallel()
	missing, away := &Error{Is: ErrMissing, Text: "missing"}, &Error{Is: ErrUnreachable, Text: "away"}
	list := []any{&item{ObjectMeta: metav1.ObjectMeta{Name: "a"}, object: testObject(t, "a", "1")}}
	f, w := testFeed(t, "")
	long := func() { w.missingAt = w.missingAt.Add(-missingFor) }
	w.Replace(list, "")
	f.failed(w, missing)
	long()
	w.Replace(list, "")
	if f.failed(w, missing); len(w.known) != 1 {
		t.Error("it came back meanwhile, and is gone at the first moment without")
	}
	long()
	if f.failed(w, away); len(w.known) != 1 {
		t.Error("it is gone, and the server is away")
	}
	if f.failed(w, missing); len(w.known) != 0 || !w.dirty {
		t.Errorf("it has long been missing, before the server was away and after: %d are known, to be told: %t", len(w.known), w.dirty)
	}
}

// A server has the kinds that it is made with: one that says otherwise is somebody else, or
// broken, and ends nobody's selection.
func TestAKindOfKubernetesItselfIsNeverGone(t *testing.T) {
	t.Parallel()
	f := (&Cluster{name: "test"}).Feed(FollowOptions{Missing: time.Nanosecond})
	f.Follow(Namespaces, Selector{}, func(Delta) {})
	w := f.follows[0]
	w.Replace([]any{&item{ObjectMeta: metav1.ObjectMeta{Name: "a"}, object: testObject(t, "a", "1")}}, "")
	for range 2 {
		f.failed(w, &Error{Is: ErrMissing, Text: "missing"})
		w.missingAt = w.missingAt.Add(-missingFor)
	}
	if len(w.known) != 1 {
		t.Error("what was known of Namespaces is gone")
	}
}

// A journal that was taken away is there again though there is nothing to keep in it.
func TestAFileTakenAwayOfNothingIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	life(t, dir, map[string]string{})
	f, w := testFeed(t, dir)
	w.restart = func() {}
	k, err := f.replay()
	if err != nil {
		t.Fatal(err)
	}
	defer k.lock.Close()
	f.deliver()
	path := filepath.Join(dir, "serviceentries.journal")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	k.keep()
	w.Replace(nil, "")
	f.deliver()
	k.keep()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
