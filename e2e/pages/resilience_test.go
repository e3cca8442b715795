package pages

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// The task "Mirroring": requests go on as they should, and nobody is told that a copy
// went elsewhere.
func TestMirroringIsReported(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Web("notes-v1.example", 80, nil)
	p.Net.Web("notes-v2.example", 80, nil)
	warnings := p.Apply(fixture(t, "mirror")).Of(mesh.Warning).String()
	for _, field := range []string{"mirror", "mirrorPercentage"} {
		if !strings.Contains(warnings, "spec.http[0]."+field+": ") && !strings.Contains(warnings, "spec.http[0]."+field+" ") {
			t.Errorf("%s is not warned of:\n%s", field, warnings)
		}
	}
	for range 5 {
		for _, v := range egress.Versions {
			p.Ask(egress.Request{URL: "http://notes.example:8000/headers", Version: v, At: p.Net.Lookup("notes-v1.example", "IPv4") + ":8000"}).
				Want("200 notes-v1.example")
		}
	}
	if n := len(p.Net.Seen("notes-v2.example")); n != 0 {
		t.Errorf("%d requests came to v2", n)
	}
}
