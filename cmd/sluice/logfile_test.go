package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
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

func TestWhatIsBrokenIsOnStandardErrorWhereverTheLogGoes(t *testing.T) {
	t.Parallel()
	var file, stderr bytes.Buffer
	for name, c := range map[string]struct {
		messages    io.Writer
		file, lines int // of the file and of standard error
	}{
		"off": {nil, 0, 1}, "a file": {&file, 2, 1}, "standard error": {&stderr, 0, 2},
	} {
		file.Reset()
		stderr.Reset()
		log := execLog(c.messages, &stderr)
		log.Info("in force")
		log.Error("broken")
		if strings.Count(file.String(), "\n") != c.file || strings.Count(stderr.String(), "\n") != c.lines || !strings.Contains(stderr.String(), "broken") {
			t.Errorf("%s: file %q, standard error %q", name, &file, &stderr)
		}
	}
}
