package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestALogFileThatWasMovedAwayIsOpenedAnew(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "access.log")
	l, err := openLogFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	content := func(name, want string) {
		t.Helper()
		if got, _ := os.ReadFile(name); string(got) != want {
			t.Errorf("%s holds %q, want %q", filepath.Base(name), got, want)
		}
	}
	l.Write([]byte("1"))
	os.Rename(name, name+".1")
	l.Write([]byte("2")) // within a second
	content(name+".1", "12")
	l.looked = time.Time{}
	l.Write([]byte("3"))
	content(name, "3")
	os.Rename(name, name+".2")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Write([]byte("4"))
	content(name, "4")
	os.Remove(name)
	l.looked = time.Time{}
	l.Write([]byte("5"))
	content(name, "5")
}

func TestALogFileThatCannotBeOpenedAnewIsWrittenOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := openLogFile(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	os.Rename(dir, dir+".gone")
	l.looked = time.Time{}
	if _, err := l.Write([]byte("1")); err != nil {
		t.Error(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("no error")
	}
	l.Write([]byte("2"))
	if got, _ := os.ReadFile(filepath.Join(dir+".gone", "access.log")); string(got) != "12" {
		t.Errorf("%q", got)
	}
}
