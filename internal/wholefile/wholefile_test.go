package wholefile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/wholefile"
)

func TestOnlyRegularFilesOfBearableSizeAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(path, []byte("12345"), 0o600), os.Symlink(path, filepath.Join(dir, "link")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"file": nil, "link": nil, "none": fs.ErrNotExist, "pipe": wholefile.ErrNotRegular, ".": wholefile.ErrNotRegular,
	} {
		data, err := wholefile.Read(filepath.Join(dir, name), 5)
		if !errors.Is(err, want) || err == nil && string(data) != "12345" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if _, err := wholefile.Read(path, 4); !errors.Is(err, wholefile.ErrTooLarge) {
		t.Error(err)
	}
}

func TestAReplacementIsTheWholeFileAndLeavesNothingBesideIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "here")
	path := filepath.Join(dir, "file")
	for _, data := range [][]byte{bytes.Repeat([]byte("long"), 1<<16), []byte("short")} {
		if err := wholefile.Replace(path, data, 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	// Where it cannot go the old one stays, and no part of the new one.
	if err := wholefile.Replace(dir, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	for _, of := range []string{dir, filepath.Dir(dir)} {
		if entries, err := os.ReadDir(of); err != nil || len(entries) != 1 {
			t.Errorf("%s: %v, %v", of, entries, err)
		}
	}
}

// What is left by one that was killed goes with the next, and nothing else of that folder:
// neither what another process may be writing, nor what only looks like it.
func TestWhatOneThatWasKilledHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := time.Now().Add(-time.Hour)
	for name, age := range map[string]time.Time{
		".key.json-123": long, ".key.json-124": time.Now(), ".key.json-old": long, ".other.json-125": long, "key.json-126": long,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte("half"), 0o600), os.Chtimes(path, age, age)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	if err := wholefile.Replace(filepath.Join(dir, "key.json"), []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), ".key.json-124 .key.json-old .other.json-125 key.json key.json-126"; got != want {
		t.Errorf("%s is there, not %s", got, want)
	}
	wholefile.Sweep(filepath.Join(dir, "*.json"))
	if got, want := left(), ".key.json-124 .key.json-old key.json key.json-126"; got != want {
		t.Errorf("after a sweep %s is there, not %s", got, want)
	}
}
