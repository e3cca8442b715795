package labtest

import (
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
)

// NeedsInstalled skips the test of an ordinary user where programs are not there,
// err being the search for them: `make test` installs them as root only. Root's
// test fails.
func NeedsInstalled(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if lab.OwnUserNamespace() {
		t.Skipf("not run: needs programs that `make test` installs as root: %v", err)
	}
	t.Fatal(err)
}
