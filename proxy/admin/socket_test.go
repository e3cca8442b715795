package admin

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheSocketIsItsUsersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second proxy takes it over: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left behind: %v", err)
	}
}

func TestASocketLeftBehindIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.sock")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("it was replaced")
	}
	if text, _ := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("it has %q now", text)
	}
	if _, err := Listen(filepath.Join(t.TempDir(), strings.Repeat("x", 200))); err == nil || !strings.Contains(err.Error(), "107 bytes") {
		t.Errorf("too long a path: %v", err)
	}
}

func TestAnotherUserGetsNoAnswer(t *testing.T) {
	t.Parallel()
	own := uint32(os.Geteuid())
	if !mayAsk(own) || !mayAsk(0) || mayAsk(own+1) {
		t.Error("not this user and root alone may ask")
	}
	l, err := Listen(filepath.Join(t.TempDir(), "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan uint32, 2)
	l.(*ownOnly).may = func(uid uint32) bool {
		asked <- uid
		return len(asked) > 1 // the second
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	refused, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	refused.SetDeadline(time.Now().Add(time.Minute))
	if n, err := refused.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	if uid := <-asked; uid != own {
		t.Errorf("the other end is said to be user %d", uid)
	}
	asked <- own
	again, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	(<-accepted).Close()
	l.Close()
}

func TestADirectoryThatOthersMayWriteToIsNotUsed(t *testing.T) {
	t.Parallel()
	open, own := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "own")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	l, err := ListenDefault([]string{open, link, own}, "proxy")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dir := filepath.Dir(l.Addr().String()); dir != own {
		t.Errorf("the socket is in %s", dir)
	}
	other, err := ListenDefault([]string{own}, "proxy") // as a process of that number elsewhere would
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if found := Running([]string{open, own}); len(found) != 2 {
		t.Errorf("found %q", found)
	}
	if _, err := ListenDefault([]string{open}, "proxy"); err == nil || !strings.Contains(err.Error(), "others may write to it") {
		t.Errorf("nowhere to be: %v", err)
	}
}

func TestSocketsOfEndedProxiesAreSweptAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old.sock", "new.sock"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	past := time.Now().Add(-2 * leftBehind)
	if err := os.Chtimes(filepath.Join(dir, "old.sock"), past, past); err != nil {
		t.Fatal(err)
	}
	l, err := ListenDefault([]string{dir}, "exec")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if left := sockets(dir); len(left) != 2 { // the new one may be about to be served
		t.Errorf("left are %q", left)
	}
}

func TestClientsSayWhyNobodyAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.sock"): "there is no such socket",
		dead:                            "has ended",
	} {
		err := Client{Path: path}.Ask(context.Background(), StatusPath, Question{}, new(Status))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
