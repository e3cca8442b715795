package wholefile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

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
