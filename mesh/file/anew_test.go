package file

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// shuffle writes resources that have to do with each other.
type shuffle struct{ *rand.Rand }

func pick[T any](r shuffle, list ...T) T { return list[r.IntN(len(list))] }

func (r shuffle) object() string {
	name := fmt.Sprint("n", r.IntN(6))
	meta := fmt.Sprintf("metadata: {name: %s, namespace: %s}\n", name, pick(r, "default", "other"))
	host := func() string { return pick(r, "a.com", "b.com", "*.com", "x.a.com", "s", "*.a.com") }
	export := pick(r, "", "", "  exportTo: ['.']\n", "  exportTo: [third]\n", "  exportTo: ['*']\n")
	const api = "apiVersion: networking.istio.io/v1\nkind: "
	switch r.IntN(4) {
	case 0, 1:
		return api + "ServiceEntry\n" + meta + fmt.Sprintf("spec:\n  hosts: ['%s']\n  ports: [{number: %d, name: p, protocol: %s}]\n", host(), pick(r, 80, 443), pick(r, "HTTP", "TLS", "HTTP2")) + export
	case 2:
		return api + "VirtualService\n" + meta + fmt.Sprintf("spec:\n  hosts: ['%s']\n  http: [{route: [{destination: {host: '%s'}}], timeout: %ds}]\n", host(), pick(r, "a.com", "b.com", "x.a.com"), 1+r.IntN(9)) + export
	}
	if r.IntN(5) == 0 {
		return api + "Sidecar\n" + meta + fmt.Sprintf("spec:\n  egress: [{hosts: ['%s']}]\n", pick(r, "./*", "*/*", "other/*", "*/a.com"))
	}
	return api + "DestinationRule\n" + meta + fmt.Sprintf("spec:\n  host: '%s'\n  trafficPolicy: {connectionPool: {tcp: {connectTimeout: %ds}}}\n", host(), 1+r.IntN(9)) + export
}

func (r shuffle) content() string {
	switch r.IntN(10) {
	case 0:
		return ""
	case 1:
		return "kind: [\n"
	case 2:
		return r.object() + "---\n" + "kind: Nothing\nmetadata: {name: x}\n"
	case 3:
		var items strings.Builder
		for range 1 + r.IntN(3) {
			for i, line := range strings.Split(strings.TrimSpace(r.object()), "\n") {
				items.WriteString(pick2(i == 0, "- ", "  ") + line + "\n")
			}
		}
		return "apiVersion: v1\nkind: List\nitems:\n" + items.String()
	}
	var out []string
	for range 1 + r.IntN(3) {
		out = append(out, r.object())
	}
	return strings.Join(out, "---\n")
}

// pick2 is a or b.
func pick2(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func TestWhateverHappensToFilesItEndsAsIfReadAnew(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	for seed := range uint64(20) {
		r := shuffle{rand.New(rand.NewPCG(seed, 2))}
		dir := t.TempDir()
		s, err := Open(dir, Options{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		file := func() string { return filepath.Join(dir, fmt.Sprintf("%d.yaml", r.IntN(6))) }
		look := func() {
			if _, err := s.reload(look{list: true, every: true}); err != nil {
				t.Fatal(err)
			}
		}
		for step := range 60 {
			for range 1 + r.IntN(3) {
				switch name := file(); r.IntN(6) {
				case 0:
					os.Remove(name)
				case 1:
					os.Rename(name, file())
				case 2:
					os.Remove(name)
					os.Symlink(filepath.Base(file()), name)
				default:
					os.Remove(pick2(r.IntN(3) == 0, name, "/nonexistent"))
					os.WriteFile(name, []byte(r.content()), 0o644)
				}
			}
			look()
			for _, ns := range []string{"default", "other", "third", "fourth"} {
				if r.IntN(2) == 0 {
					_ = slices.Collect(s.Snapshot().View(mesh.Workload{Namespace: ns}).Ways(func(uint16, string) bool { return true }))
				}
			}
			if step%10 != 9 {
				continue
			}
			for { // what is wrong goes
				issues := s.Issues().Of(mesh.Error)
				if len(issues) == 0 {
					break
				}
				os.Remove(issues[0].File)
				look()
			}
			anew, err := Open(dir, Options{Log: quiet})
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			list := func(s *mesh.Snapshot) (out []string) {
				for _, r := range s.Resources() {
					out = append(out, fmt.Sprint(r.Identity(), r.Source, r.Spec))
				}
				return out
			}
			if got, want := list(s.Snapshot()), list(anew.Snapshot()); !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d:\n%s\nwant\n%s", seed, step, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if got, want := s.Issues(), anew.Issues(); !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d:\n%v\nwant\n%v", seed, step, got, want)
			}
			for _, ns := range []string{"default", "other", "third", "fourth"} {
				ways := func(s *mesh.Snapshot) []mesh.Way {
					return slices.Collect(s.View(mesh.Workload{Namespace: ns}).Ways(func(uint16, string) bool { return true }))
				}
				if got, want := ways(s.Snapshot()), ways(anew.Snapshot()); !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, step %d, %s: other ways\n%+v\n%+v", seed, step, ns, got, want)
				}
			}
		}
	}
}
