package node

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/cgroups"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/lab"
)

var (
	full     = flag.Bool("full", false, "run the load and fault tests at their full size")
	runtimes = flag.String("runtime", os.Getenv("SLUICE_TEST_RUNTIMES"), "container runtimes to test with: "+programs.Containerd2+", "+programs.Containerd1+" or both with a comma")
	race     = flag.Bool("race", false, "run sluice with the race detector; a race that it finds fails the test, and figures mean nothing")
	worlds   = flag.Int("worlds", 0, "how many tests run at once, each in a world of its own; 0 is 3, and 1 with -full, whose figures are of a node that has the machine to itself")
	seed     = flag.Int64("seed", 0, "seed of the faults; 0 takes the clock's")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 || flagged("test.list") != "" { // no root: each test says that it needs that
		os.Exit(m.Run())
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if forOneWorld() {
		inside, code, err := lab.World()
		if inside {
			return m.Run(), nil
		}
		return code, err
	}
	dir, err := os.MkdirTemp("", "sluice-node-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // other users run programs from it too
		return 1, err
	}
	if err := programs.Build(dir, *race); err != nil {
		return 1, err
	}
	var versions []string
	if *runtimes != "" {
		versions = strings.Split(*runtimes, ",")
	}
	if err := programs.Fetch(versions); err != nil {
		return 1, err
	}
	release, err := cgroups.Reserve()
	if err != nil {
		return 1, err
	}
	defer release()
	return eachInAWorld()
}

// needsRoot skips an ordinary user's test, in the words that `make test` collects.
func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not run: needs root (cgroups and namespaces of all kinds)")
	}
}

// withRuntimes runs a test with each container runtime that -runtime names.
func withRuntimes(t *testing.T, test func(t *testing.T, r programs.Runtime)) {
	needsRoot(t)
	if len(programs.Runtimes()) == 0 {
		t.Skip("not run: needs containerd; `make test` runs it as root on Debian 12, `make e2e-node` on every Debian")
	}
	for _, r := range programs.Runtimes() {
		t.Run("containerd "+r.Version, func(t *testing.T) { test(t, r) })
	}
}
