package file

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// remembering opens a store that remembers, and has what it said.
func remembering(t testing.TB, dir, memory string) (*Store, string) {
	t.Helper()
	var log bytes.Buffer
	s, err := Open(dir, Options{Remember: memory, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, log.String()
}

// again is one more look of a store that does not run.
func (s *Store) again(t testing.TB) {
	t.Helper()
	if _, err := s.reload(look{list: true, every: true}); err != nil {
		t.Fatal(err)
	}
	s.keepNew()
}

func TestARestartWithABrokenFileGoesOnWithWhatItHeldBefore(t *testing.T) {
	t.Parallel()
	dir, memory := t.TempDir(), filepath.Join(t.TempDir(), "last-good")
	write(t, dir, "a.yaml", entryYAML("a"))
	write(t, dir, "b.yaml", entryYAML("b"))
	s, said := remembering(t, dir, memory)
	if got := names(s.Snapshot()); got != "a b" || said != "" {
		t.Fatalf("%s; said %s", got, said)
	}
	write(t, dir, "b.yaml", entryYAML("b")+"---\n"+entryYAML("c"))
	s.again(t)

	write(t, dir, "a.yaml", entryYAML("z"))
	write(t, dir, "b.yaml", "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nspec: [")
	write(t, dir, "never.yaml", "spec: {")
	s, said = remembering(t, dir, memory)
	if got := names(s.Snapshot()); got != "b c z" || s.Errors() == 0 {
		t.Errorf("after a restart: %s, %d errors", got, s.Errors())
	}
	for _, want := range []string{"what it held when it was last good is", filepath.Join(dir, "b.yaml"),
		"nothing of a file is in force", filepath.Join(dir, "never.yaml")} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
	s, _ = remembering(t, dir, memory) // and once more, with nobody having mended it
	if got := names(s.Snapshot()); got != "b c z" {
		t.Errorf("after two restarts: %s", got)
	}
	write(t, dir, "b.yaml", entryYAML("d"))
	s.again(t)
	if got := names(s.Snapshot()); got != "d z" {
		t.Errorf("mended: %s", got)
	}
	os.Remove(filepath.Join(dir, "b.yaml"))
	s, said = remembering(t, dir, memory)
	if got := names(s.Snapshot()); got != "z" {
		t.Errorf("with a file gone: %s; said %s", got, said)
	}
	if _, err := os.Stat(filepath.Join(memory, "b.yaml")); !os.IsNotExist(err) {
		t.Error("what a file held that is gone is kept on")
	}
	if _, err := Open(dir, Options{Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("without a memory a broken file is accepted")
	}
}

func TestADirectoryThatIsGoneAtARestartHasInForceWhatItHeld(t *testing.T) {
	t.Parallel()
	dir, memory := filepath.Join(t.TempDir(), "config"), t.TempDir()
	log := slog.New(slog.DiscardHandler)
	if _, err := Open(dir, Options{Remember: memory, Log: log}); err == nil {
		t.Fatal("a directory that never was is no mistake")
	}
	os.Mkdir(dir, 0o755)
	write(t, dir, "a.yaml", entryYAML("a"))
	write(t, dir, "b.yaml", entryYAML("b"))
	remembering(t, dir, memory)
	os.Rename(dir, dir+".away")
	s, said := remembering(t, dir, memory)
	if got := names(s.Snapshot()); got != "a b" || strings.Count(said, "cannot be read") != 1 {
		t.Errorf("%s; said %s", got, said)
	}
	os.Rename(dir+".away", dir)
	os.Remove(filepath.Join(dir, "a.yaml"))
	write(t, dir, "b.yaml", entryYAML("c"))
	s.again(t)
	if got := names(s.Snapshot()); got != "c" {
		t.Errorf("when it is back: %s", got)
	}
}

// A crash of the machine tears what was being kept; nothing of it may pass for content.
func TestWhatIsKeptAndDamagedCountsAsNothing(t *testing.T) {
	t.Parallel()
	dir, memory := t.TempDir(), t.TempDir()
	write(t, dir, "a.yaml", entryYAML("a")+"---\n"+entryYAML("b"))
	remembering(t, dir, memory)
	kept := filepath.Join(memory, "a.yaml")
	whole, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.yaml", "spec: {")
	for _, n := range []int{0, 1, 40, 90, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(kept, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s, said := remembering(t, dir, memory)
		if got := names(s.Snapshot()); got != "" || !strings.Contains(said, "damaged") {
			t.Errorf("%d of %d bytes: %q in force; said %s", n, len(whole), got, said)
		}
	}
}

// Between two writes of the memory the machine can crash: an object that moved from one
// file to another is then kept twice, or not at all.
func TestAnObjectThatIsKeptTwiceIsInForceOnce(t *testing.T) {
	t.Parallel()
	dir, memory := t.TempDir(), t.TempDir()
	for _, name := range []string{"a.yaml", "b.yaml"} {
		write(t, dir, name, "spec: {")
		data := []byte(entryYAML("x"))
		write(t, memory, name, string(append(checksum(data), data...)))
	}
	s, said := remembering(t, dir, memory)
	if got := names(s.Snapshot()); got != "x" || !strings.Contains(said, "the same object") {
		t.Errorf("%q in force; said %s", got, said)
	}
}

func TestAMemoryThatCannotBeWrittenIsSaidAndTriedAgain(t *testing.T) {
	t.Parallel()
	dir, memory := t.TempDir(), filepath.Join(t.TempDir(), "last-good")
	var log bytes.Buffer
	s, err := Open(dir, Options{Remember: memory, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	os.Rename(memory, memory+".away")
	write(t, dir, "a.yaml", entryYAML("a"))
	s.again(t)
	write(t, dir, "b.yaml", entryYAML("b"))
	s.again(t)
	if got := names(s.Snapshot()); got != "a b" || strings.Count(log.String(), "cannot be kept") != 1 {
		t.Errorf("%q in force; said %s", got, &log)
	}
	os.Rename(memory+".away", memory)
	s.keepAgain(s.memory.tried.Add(rememberAgain))
	if !strings.Contains(log.String(), "is kept again") {
		t.Errorf("said %s", &log)
	}
	for _, name := range []string{"a.yaml", "b.yaml"} {
		if _, err := s.memory.read(name); err != nil {
			t.Error(err)
		}
	}
}

// Whatever becomes of a few files, good, broken, in each other's way, gone and back: a
// store that is opened anew has in force what the one before it had.
func TestARestartChangesNothingThatIsInForce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir, memory := t.TempDir(), t.TempDir()
		s, _ := remembering(t, dir, memory)
		for step := range 60 {
			name := fmt.Sprintf("%c.yaml", 'a'+r.IntN(4))
			switch r.IntN(6) {
			case 0:
				os.Remove(filepath.Join(dir, name))
			case 1:
				write(t, dir, name, "kind: ServiceEntry\nspec: [")
			case 2:
				os.Rename(filepath.Join(dir, name), filepath.Join(dir, fmt.Sprintf("%c.yaml", 'a'+r.IntN(4))))
			default:
				text := ""
				for _, n := range r.Perm(5)[:1+r.IntN(2)] {
					text += fmt.Sprintf("---\n%s  location: %s\n", entryYAML(fmt.Sprint("n", n)), []string{"MESH_EXTERNAL", "MESH_INTERNAL"}[r.IntN(2)])
				}
				write(t, dir, name, text)
			}
			if r.IntN(3) > 0 {
				s.again(t)
				continue
			}
			s.again(t)
			before := inForce(s)
			if s, _ = remembering(t, dir, memory); !slices.Equal(inForce(s), before) {
				t.Fatalf("seed %d, step %d: %q became %q", seed, step, before, inForce(s))
			}
		}
	}
}

// inForce is every resource with the file that has it.
func inForce(s *Store) (all []string) {
	for _, r := range s.Snapshot().Resources() {
		all = append(all, fmt.Sprint(r.Identity(), filepath.Base(r.Source.File), r.Spec))
	}
	slices.Sort(all)
	return all
}
