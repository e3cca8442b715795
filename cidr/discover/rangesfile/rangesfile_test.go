package rangesfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"golang.org/x/sys/unix"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "ranges.json")
	f := rangesfile.File{Written: now, Ranges: []string{"10.4.0.0/14", "fd00::/108"}, Sources: []rangesfile.Source{{"10.4.0.0/14", "pods", "stdin:1: clusterIpv4Cidr"}}}
	for range 2 { // the second time it is replaced
		if err := rangesfile.Write(path, f); err != nil {
			t.Fatal(err)
		}
		list, err := rangesfile.Read(path, now.Add(1e6*time.Hour))
		if err != nil || list.String() != "10.4.0.0/14,fd00::/108" {
			t.Fatal(list, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Error(info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Error("something is left behind", entries, err)
	}
}

func TestAFileOutOfDateIsRefused(t *testing.T) {
	t.Parallel()
	path, until := filepath.Join(t.TempDir(), "ranges.json"), now.Add(time.Hour)
	if err := rangesfile.Write(path, rangesfile.File{Written: now, ValidUntil: &until, Ranges: []string{"10.0.0.0/8"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := rangesfile.Read(path, until); err != nil {
		t.Error(err)
	}
	_, err := rangesfile.Read(path, until.Add(time.Second))
	if err == nil || !strings.Contains(err.Error(), "out of date since 2026-11-23T13:00:00Z") || !strings.Contains(err.Error(), "'sluice cidr --from-cluster --write ") {
		t.Error(err)
	}
}

func TestAFileThatCannotBeUsedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ content, want string }{
		"missing": {"", "is missing"},
		"pipe":    {"", "is not a regular file"},
		".":       {"", "is not a regular file"},
		"empty":   {" ", "not a file of ranges"},
		"garbage": {"10.0.0.0/8", "not a file of ranges"},
		"cut":     {`{"version":1,"ranges":["10.0.0.0/8"`, "not a file of ranges"},
		"two":     {`{"version":1,"ranges":["10.0.0.0/8"]}{}`, "something follows"},
		"later":   {`{"version":2,"ranges":["10.0.0.0/8"]}`, "has version 2"},
		"none":    {`{"version":1,"ranges":[]}`, "holds no range"},
		"bad":     {`{"version":1,"ranges":["10.0.0.0/33"]}`, `element 1 "10.0.0.0/33"`},
	} {
		path := filepath.Join(dir, name)
		if tc.content != "" {
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := rangesfile.Read(path, now); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "'sluice cidr --from-cluster --write ") || !list.None() {
			t.Errorf("%s: %q %v", name, list, err)
		}
	}
}

// Readers while somebody writes see one of the files that were written, never a part.
func TestReadersNeverSeeHalfAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ranges.json")
	write := func(n int) {
		f := rangesfile.File{Written: now}
		for i := range n {
			f.Ranges = append(f.Ranges, fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255))
		}
		if err := rangesfile.Write(path, f); err != nil {
			t.Error(err)
		}
	}
	write(3)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 40 {
			write(3 + i%2*4000)
		}
	})
	for range 100 {
		list, err := rangesfile.Read(path, now)
		if n := len(list.Prefixes); err != nil || n != 3 && n != 4003 {
			t.Fatal(n, err)
		}
	}
	wg.Wait()
}
