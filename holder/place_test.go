package holder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// hears is whether the holder answers at the path.
func hears(path string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	_, err := client.Status(ctx, path)
	return err == nil
}

// Somebody cleans /run up. Plugins and agents find the holder again, and so does the next
// holder.
func TestARunDirectoryThatIsRemovedIsMadeAnew(t *testing.T) {
	t.Parallel()
	for what, remove := range map[string]func(dir string) error{
		"all of it":                         removeAll,
		"moved away":                        func(dir string) error { return os.Rename(dir, dir+".old") },
		"the socket":                        func(dir string) error { return os.Remove(filepath.Join(dir, SocketName)) },
		"the lock":                          func(dir string) error { return os.Remove(filepath.Join(dir, lockName)) },
		"the pods":                          func(dir string) error { return os.RemoveAll(filepath.Join(dir, podsDir)) },
		"a pod's file":                      func(dir string) error { return removeOne(filepath.Join(dir, podsDir)) },
		"a directory in the socket's place": func(dir string) error { return putDirectory(filepath.Join(dir, SocketName)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "run")
			path := filepath.Join(dir, SocketName)
			old := startProcess(t, dir, 0)
			old.ready(t)
			p := newPod(t)
			p.hold(t, path)
			p.close()
			a := openAgent(t, path, wire.HelloRequest{})
			stop := a.comeBack(t, path)
			defer stop()
			a.serveAll(t)
			if err := remove(dir); err != nil {
				t.Fatal(err)
			}
			old.says(t, "it is made anew", 1)
			await.True(t, "it is heard", func() bool { return hears(path) })
			await.True(t, "its files are there", func() bool {
				_, err := os.Stat(filepath.Join(dir, podsDir, p.Netns.String()+suffix))
				_, other := os.Stat(filepath.Join(dir, agentsFile))
				return err == nil && other == nil
			})
			q := newPod(t)
			q.hold(t, path)
			q.close()
			next := startProcess(t, dir, 0)
			next.ready(t)
			select {
			case <-old.exited:
			case <-time.After(await.Patience):
				t.Fatal("the next holder did not find this one")
			}
			if held := status(t, path).Pods; len(held) != 2 {
				t.Errorf("the next one holds %v", held)
			}
			if err := roundTrip(p, "tcp4"); err != nil {
				t.Error(err)
			}
		})
	}
}

// removeAll is rm -r, into whose way the holder comes when it is quick.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

func removeOne(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, entries[0].Name()))
}

// Two holders are one too many: who finds another in its place ends, and the agents go to
// that one.
func TestAHolderWhosePlaceIsTakenEnds(t *testing.T) {
	t.Parallel()
	above := t.TempDir()
	dir, theirs := filepath.Join(above, "run"), filepath.Join(above, "theirs")
	p := startProcess(t, dir, 0)
	p.ready(t)
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := unix.Open(filepath.Join(theirs, lockName), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lock)
	if err := unix.Flock(lock, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, theirs, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(await.Patience):
		t.Fatal("it does not end")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.log.String(), "another holder runs here") {
		t.Errorf("it ended with %d", code)
	}
}

// putDirectory has an empty directory in the place of a file, as a container runtime makes
// one of a mount's source that it does not find.
func putDirectory(path string) error {
	empty := path + ".directory"
	if err := os.Mkdir(empty, 0o700); err != nil {
		return err
	}
	return unix.Renameat2(unix.AT_FDCWD, empty, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
}

// What cannot be made anew is tried at each look, and not because of the try before.
func TestAPlaceThatCannotBeMadeAnewIsTriedQuietly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, SocketName)
	p := startProcess(t, dir, 0)
	p.ready(t)
	full := filepath.Join(t.TempDir(), "full")
	if err := os.MkdirAll(filepath.Join(full, "something"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, full, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	p.says(t, "cannot be made anew", 1)
	for range 3 { // a look each, which says nothing more
		before := changed(t, dir)
		await.True(t, "the next look", func() bool { return !changed(t, dir).Equal(before) })
	}
	if lines := strings.Count(p.log.String(), "made anew"); lines != 2 {
		t.Errorf("%d lines in the log", lines)
	}
	if err := os.Rename(path, filepath.Join(t.TempDir(), "away")); err != nil { // as a whole
		t.Fatal(err)
	}
	await.True(t, "it is heard", func() bool { return hears(path) })
}

// changed is when something in a directory was made or removed last.
func changed(t testing.TB, dir string) time.Time {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// What a new holder has been handed is not replaced under it: it would hold with a socket
// that nobody finds, beside this one.
func TestThePlaceIsNotMadeAnewWhileANewHolderTakesOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, dir, 0)
	p.ready(t)
	c, err := wire.Dial(t.Context(), filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send(wire.Succeed, wire.SuccessionRequest{Versions: wire.Spoken, PID: 1, Build: "test"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []wire.Kind{wire.Yield, wire.End} {
		m, err := c.Receive(time.Now().Add(frameWait))
		if err != nil || m.Kind != want {
			t.Fatalf("%s, %v instead of %s", m.Kind, err, want)
		}
		for _, f := range m.Files {
			f.Close()
		}
	}
	lock := filepath.Join(dir, lockName)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, SocketName)
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; { // two looks
		if !hears(path) {
			t.Fatal("it is not heard")
		}
	}
	if _, err := os.Lstat(lock); err == nil {
		t.Error("the place was made anew")
	}
	c.Close()
	await.True(t, "it is made anew", func() bool { _, err := os.Lstat(lock); return err == nil })
}

// One that stands by looks for a lock that nobody has, again and again.
func TestALockThatIsMadeAnewIsNobodyElsesForAMoment(t *testing.T) {
	t.Parallel()
	h := &holder{Options: Options{RunDir: t.TempDir()}, lock: -1}
	path := h.path(lockName)
	ctx, stop := context.WithCancel(t.Context())
	stolen := make(chan bool)
	go func() {
		any := false
		for ctx.Err() == nil && !any {
			lock, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			any = unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) == nil && isAt(lock, path)
			unix.Close(lock)
		}
		stolen <- any
	}()
	for range 2000 {
		before := h.lock
		if err := h.lockAnew(); err != nil {
			t.Error(err)
			break
		}
		if h.lock == before {
			t.Error("it has the lock of before")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(h.lock)
	stop()
	if <-stolen {
		t.Error("another had the lock")
	}
}

// What was saved is looked for though it could not be written anew.
func TestWhatWasSavedIsMissedInADirectoryThatIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	h := &holder{Options: Options{RunDir: dir}, state: newStateFiles(dir)}
	if err := h.makeDirs(); err != nil {
		t.Fatal(err)
	}
	k := wire.Holding{Netns: wire.Netns{Device: 4, Inode: 7}}
	if err := h.state.save(k); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := h.makeDirs(); err != nil {
		t.Fatal(err)
	}
	if got := h.state.missing(); got != h.state.pod(k.Netns) {
		t.Errorf("missing is %q", got)
	}
}
