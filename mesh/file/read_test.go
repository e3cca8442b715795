package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
)

func TestAPipeOrAHugeFileIsAnErrorAndNothingWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "huge.yaml"), []byte(strings.Repeat("#", maxFileSize+1)), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{Options: mesh.Options{}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"pipe.yaml", "not a regular file", "huge.yaml", "larger than 16 MiB"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, issues, err := (Directory{Path: dir}).List(); err != nil || len(issues) != 2 {
		t.Errorf("List: %v %v", issues, err)
	}
}
