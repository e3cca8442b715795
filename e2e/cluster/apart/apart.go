// Package apart runs the tests of a package that needs a cluster: in a world of their own
// (lab.World) with a place in the cgroup hierarchies, once what they need has been built
// outside, where there is a network.
package apart

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/cgroups"
	"github.com/sluice-cni/sluice/internal/lab"
)

// folderEnv carries the folder that was prepared into the world.
const folderEnv = "SLUICE_TEST_APART"

// Folder is the one that prepare has filled. It goes at the run's end.
func Folder() string { return os.Getenv(folderEnv) }

// Main is TestMain. Where the variable wanted of the environment is not set, or this is not
// root, it runs the tests as they are, and Needed tells them. The result is the exit code.
func Main(m *testing.M, wanted string, prepare func(dir string) error) int {
	flag.Parse()
	if os.Getenv(wanted) == "" || os.Geteuid() != 0 || flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	code, err := run(m, prepare)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return code
}

// Needed skips a test that Main did not run apart. command is the one that does.
func Needed(t testing.TB, wanted, command string) {
	t.Helper()
	if os.Getenv(wanted) == "" {
		t.Skipf("not run: builds and runs Kubernetes; `%s` does", command)
	}
	if os.Geteuid() != 0 {
		t.Skip("not run: needs root (cgroups and namespaces of all kinds)")
	}
}

func run(m *testing.M, prepare func(dir string) error) (code int, err error) {
	if Folder() == "" {
		dir, failed := os.MkdirTemp("", "sluice-cluster-")
		if failed != nil {
			return 1, failed
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // other users run programs from it too
			return 1, err
		}
		if err := errors.Join(prepare(dir), os.Setenv(folderEnv, dir)); err != nil {
			return 1, err
		}
		release, failed := cgroups.Reserve()
		if failed != nil {
			return 1, failed
		}
		defer func() {
			release()
			if left := cgroups.Left(); len(left) > 0 {
				code, err = 1, errors.Join(err, fmt.Errorf("the run has left cgroups: %v", left))
			}
		}()
	}
	inside, code, err := lab.World()
	if inside {
		return m.Run(), nil
	}
	return code, err
}
