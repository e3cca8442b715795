package pages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestMain(m *testing.M) { egress.Main(m) }

// fixture reads a file of testdata, by its name without extension.
func fixture(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	egress.Must(t, err)
	return string(data)
}

// Fixtures are read by their names, written out; so what is not in the sources is read
// by nobody.
func TestEveryFixtureIsUsed(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	sources, err := filepath.Glob("*_test.go")
	egress.Must(t, err)
	for _, source := range sources {
		data, err := os.ReadFile(source)
		egress.Must(t, err)
		text.Write(data)
	}
	fixtures, err := filepath.Glob("testdata/*.yaml")
	egress.Must(t, err)
	for _, f := range fixtures {
		if name := strings.TrimSuffix(filepath.Base(f), ".yaml"); !strings.Contains(text.String(), `"`+name+`"`) {
			t.Errorf("no test reads %s", f)
		}
	}
}

// both asks in both versions of HTTP.
func both(p *egress.Pod, url, want string) {
	p.T.Helper()
	for _, v := range egress.Versions {
		p.Ask(egress.Request{URL: url, Version: v}).Want(want)
	}
}
