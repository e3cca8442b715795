package wire

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"golang.org/x/sys/unix"
)

// Who has no descriptors left loses those that come, and nothing else: the message is
// there, and so is the next.
func TestWithoutDescriptorsLeftOnlyDescriptorsAreLost(t *testing.T) {
	a, b := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for range 2 {
		if err := a.Send(Pod, Holding{Netns: Netns{Device: 4, Inode: 7}}, null, null, null); err != nil {
			t.Fatal(err)
		}
	}
	full := exhausted(t)
	m, err := b.Receive(time.Now().Add(await.Patience))
	full()
	var h Holding
	if !errors.Is(err, ErrTruncated) || m.Kind != Pod || m.Into(&h) != nil || h.Inode != 7 || len(m.Files) != 0 {
		t.Errorf("%v with %d files, %v", m.Kind, len(m.Files), err)
	}
	m, err = b.Receive(time.Now().Add(await.Patience))
	if err != nil || len(m.Files) != 3 {
		t.Errorf("then: %d files, %v", len(m.Files), err)
	}
	m.Close()
}

// exhausted has this process open no more files until the end is called.
func exhausted(t *testing.T) (end func()) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(0) // the lowest that is free
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	end = func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }
	t.Cleanup(end)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(fd), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	return end
}
