// Package labtest gives tests their namespaces: Main isolates a whole test
// binary, New makes a namespace that ends with its test.
package labtest

import (
	"fmt"
	"os"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
)

// Main runs a test binary inside namespaces of its own, so that no test can
// touch the machine even by mistake, and an ordinary user can run what needs
// CAP_NET_ADMIN. Use it as TestMain's whole body.
func Main(m *testing.M) {
	inside, code, err := lab.Isolate()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	case !inside:
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// New makes a namespace that is closed when the test ends.
func New(t testing.TB) *lab.Namespace {
	t.Helper()
	n, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// NeedsOtherUsers skips the test where only one uid exists, in the words that
// `make test` collects and prints at its end.
func NeedsOtherUsers(t testing.TB) {
	t.Helper()
	if lab.OwnUserNamespace() {
		t.Skip("not run: needs root (other uids do not exist in an ordinary user's namespace)")
	}
}
