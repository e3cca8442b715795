package ledger

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
)

// wait opens a ledger beside one that has the directory. The channel tells of addresses
// that have moved; over says that it has the directory.
func wait(t *testing.T, dir string) (l *Ledger, moved chan struct{}, over func() bool) {
	t.Helper()
	var said heard.Text
	moved = make(chan struct{}, 1)
	l, err := OpenWaiting(context.Background(), dir, slog.New(slog.NewTextHandler(&said, nil)), func() { moved <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, moved, func() bool { return strings.Contains(said.String(), "this process's to keep now") }
}

// Two processes serve at once while one takes over from the other: both answer with the
// same addresses, also for names that come meanwhile, and nothing is lost when one goes.
func TestTwoThatOverlapGiveTheSameAddresses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := rivals(t)
	old := open(t, dir)
	old.Assign(wanted(first))
	young, moved, over := wait(t, dir)
	if a, b := old.Assign(wanted(first, second)), young.Assign(wanted(first, second)); !maps.EqualFunc(a, b, slices.Equal) {
		t.Errorf("%v and %v", a, b)
	}
	a, b := young.Assign(wanted(first, second, "new.test")), old.Assign(wanted(first, second, "new.test"))
	if !maps.EqualFunc(a, b, slices.Equal) {
		t.Errorf("with a new name: %v and %v", a, b)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, Name)); !strings.Contains(string(data), "new.test") {
		t.Errorf("the one that has the file did not write it: %s", data)
	}
	if over() {
		t.Error("it has taken over while the other serves")
	}
	old.Close()
	await.True(t, "the younger takes over", over)
	got := young.Assign(wanted(first, second, "new.test", "late.test"))
	for host, addresses := range a {
		if !slices.Equal(got[host], addresses) {
			t.Errorf("%v became %v", a, got)
		}
	}
	// The older, which drains, follows.
	if late := old.Assign(wanted("late.test"))["late.test"]; !slices.Equal(late, got["late.test"]) {
		t.Errorf("late.test: %v and %v", late, got["late.test"])
	}
	select {
	case <-moved:
		t.Error("it says that addresses have moved")
	default:
	}
	young.Close()
	data, _ := os.ReadFile(filepath.Join(dir, Name))
	old.Assign(wanted("x.test"))
	if again, _ := os.ReadFile(filepath.Join(dir, Name)); !bytes.Equal(data, again) {
		t.Error("one that has let go of the file writes it")
	}
}

// The younger has given a name the address that the older gives another name before it
// goes: the older's answers are older, so it is the younger's that moves, and it says so.
func TestWhatTheOlderAnsweredWithComesFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := rivals(t)
	old := open(t, dir)
	old.Assign(nil)
	young, moved, over := wait(t, dir)
	mine := young.Assign(wanted(second))
	theirs := old.Assign(wanted(first))
	if !slices.Equal(mine[second], theirs[first]) {
		t.Fatal("the test proves nothing")
	}
	old.Close()
	await.True(t, "the younger takes over", over)
	<-moved
	got := young.Assign(wanted(first, second))
	if !slices.Equal(got[first], theirs[first]) || slices.Equal(got[second], mine[second]) {
		t.Errorf("%v, after %v and %v", got, theirs, mine)
	}
}

func TestAWaitEndsWithCloseAndWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	l, _, _ := wait(t, dir)
	l.Close() // returns
	ctx, stop := context.WithCancel(context.Background())
	l, err := OpenWaiting(ctx, dir, quiet, func() { t.Error("merged") })
	if err != nil {
		t.Fatal(err)
	}
	stop()
	l.waiting.Wait()
	l.Close()
	if l, err = OpenWaiting(context.Background(), t.TempDir(), quiet, nil); err != nil || !l.owns {
		t.Errorf("a directory that nobody has: %v, %v", l.owns, err)
	}
	l.Close()
}

// Another process has the directory and is killed.
func TestADirectoryWhoseProcessIsKilledIsTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHolderProcess$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "SLUICE_TEST_LEDGER="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	told := make([]byte, 64)
	if n, err := io.ReadAtLeast(out, told, 1); err != nil {
		t.Fatalf("%v: %s", err, told[:n])
	}
	l, _, over := wait(t, dir)
	was := l.Assign(wanted("a.test"))["a.test"]
	if over() {
		t.Fatal("two have it")
	}
	cmd.Process.Kill()
	await.True(t, "it is taken over", over)
	if is := l.Assign(wanted("a.test"))["a.test"]; !slices.Equal(is, was) {
		t.Errorf("%v became %v", was, is)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, Name)); !strings.Contains(string(data), "b.test") {
		t.Errorf("what the other kept is gone: %s", data)
	}
}

// TestHolderProcess is the other process of the test above, and nothing by itself.
func TestHolderProcess(t *testing.T) {
	dir := os.Getenv("SLUICE_TEST_LEDGER")
	if dir == "" {
		return
	}
	l, err := Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	l.Assign(wanted("a.test", "b.test"))
	os.Stdout.WriteString("ready\n")
	select {}
}

// A process that goes on since the one that took over from it is gone keeps the book
// again, with what the other wrote.
func TestABookIsRetaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	first.Assign(wanted("a.test"))
	if err := first.Retake(context.Background(), func() { t.Error("nothing was given up") }); err != nil {
		t.Error(err)
	}
	first.Close()
	second, _, _ := wait(t, dir)
	theirs := second.Assign(wanted("a.test", "b.test"))
	if err := first.Retake(context.Background(), func() {}); err != nil {
		t.Fatal(err)
	}
	second.Close()
	await.True(t, "the first has the directory", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.owns
	})
	if got := first.Assign(wanted("a.test", "b.test")); !maps.EqualFunc(got, theirs, slices.Equal) {
		t.Errorf("%v, the other had %v", got, theirs)
	}
	first.Assign(wanted("c.test"))
	if data, err := os.ReadFile(filepath.Join(dir, Name)); err != nil || !strings.Contains(string(data), "c.test") {
		t.Errorf("the file lacks what came afterwards: %v\n%s", err, data)
	}
}
