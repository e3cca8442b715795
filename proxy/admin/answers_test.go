package admin

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What listens and accepts nothing is there, though nobody can be put into its queue.
func TestWhoAcceptsNothingListensStill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	if Answers(path) {
		t.Error("nobody has listened there")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := os.NewFile(uintptr(fd), path)
	defer l.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 { // of which the first fills the queue
		c, err := net.Dial("unix", path)
		if err == nil {
			defer c.Close()
		}
		if !Answers(path) {
			t.Errorf("nobody listens, although connecting says %v", err)
		}
	}
	l.Close()
	if Answers(path) {
		t.Error("who listened has ended")
	}
}
