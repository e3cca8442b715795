package install

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds the plugin once for a test.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice-cni")
	c := exec.Command("go", "build", "-o", path, "../cmd/sluice-cni")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func call(t *testing.T, path, verb, conf string) (string, error) {
	t.Helper()
	c := exec.Command(path)
	c.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_NETNS=/no/such/namespace", "CNI_PATH=" + filepath.Dir(path)}
	c.Stdin = strings.NewReader(conf)
	out, err := c.Output()
	return string(out), err
}

func TestTheBinaryIsInstalledAndRetired(t *testing.T) {
	t.Parallel()
	source, dir := program(t), t.TempDir()
	for _, want := range []bool{true, false} {
		if changed, err := Binary(t.Context(), source, dir); err != nil || changed != want {
			t.Fatal(changed, err)
		}
	}
	target := filepath.Join(dir, "sluice-cni")
	if err := os.Chmod(target, 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := Binary(t.Context(), source, dir); err != nil || !changed {
		t.Fatal("one that cannot be executed stays", err)
	}

	for _, want := range []bool{true, false} {
		if changed, err := Retire(t.Context(), dir); err != nil || changed != want {
			t.Fatal(changed, err)
		}
	}
	prev := `{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24"}]}`
	for _, broken := range []string{"", `"includeIPRanges":"nonsense","agentSocket":"/nowhere",`} {
		conf := `{"cniVersion":"1.0.0","name":"n","type":"sluice-cni",` + broken + `"prevResult":` + prev + `}`
		out, err := call(t, target, "ADD", conf)
		if err != nil || !same([]byte(out), []byte(prev)) {
			t.Errorf("ADD: %s, %v", out, err)
		}
		for _, verb := range []string{"DEL", "CHECK"} {
			if out, err := call(t, target, verb, conf); err != nil || out != "" {
				t.Errorf("%s: %s, %v", verb, out, err)
			}
		}
	}
	if out, err := call(t, target, "DEL", `{"cniVersion":"1.0.0","name":"n","type":"sluice-cni"}`); err != nil {
		t.Errorf("DEL without prevResult: %s, %v", out, err)
	}
	if _, err := call(t, target, "STATUS", `{"cniVersion":"1.1.0","name":"n","type":"sluice-cni"}`); err != nil {
		t.Error("STATUS", err)
	}
	if out, err := call(t, target, "ADD", `{"cniVersion":"1.0.0","name":"n","type":"sluice-cni"}`); err == nil || !strings.Contains(out, "prevResult is missing") {
		t.Errorf("ADD alone: %s, %v", out, err)
	}

	if _, err := Binary(t.Context(), target, t.TempDir()); err == nil || !strings.Contains(err.Error(), "name a fresh one") {
		t.Error("a retired one is installed:", err)
	}
	write(t, filepath.Join(dir, temporary+"1"), "half a program, of an installer that was killed")
	if changed, err := Binary(t.Context(), source, dir); err != nil || !changed {
		t.Error("a fresh one does not replace the retired one:", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

// Where the node's image brings the plugin nobody copies one over what an uninstall
// retired.
func TestWhatOthersBringIsRevived(t *testing.T) {
	t.Parallel()
	source, dir := program(t), t.TempDir()
	if _, err := Revive(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("where there is none: %v", err)
	}
	if _, err := Binary(t.Context(), source, dir); err != nil {
		t.Fatal(err)
	}
	if changed, err := Revive(t.Context(), dir); changed || err != nil {
		t.Errorf("one that is not retired: %t, %v", changed, err)
	}
	if _, err := Retire(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := Brought(dir); err == nil || !strings.Contains(err.Error(), "passes everything through") {
		t.Errorf("a probe takes a retired one for a plugin: %v", err)
	}
	for _, want := range []bool{true, false} {
		if changed, err := Revive(t.Context(), dir); changed != want || err != nil {
			t.Errorf("%t, %v", changed, err)
		}
	}
	if changed, err := Binary(t.Context(), source, dir); changed || err != nil {
		t.Errorf("it is not byte for byte what it was: %t, %v", changed, err)
	}
}

func TestABinaryThatDoesNotRunReplacesNothing(t *testing.T) {
	t.Parallel()
	source, dir := filepath.Join(t.TempDir(), "sluice-cni"), t.TempDir()
	write(t, filepath.Join(dir, "sluice-cni"), "what was there")
	for _, text := range []string{"no program", "#!/bin/sh\necho '{}'\n", "#!/bin/sh\nexit 3\n"} {
		write(t, source, text)
		if _, err := Binary(t.Context(), source, dir); err == nil || !strings.Contains(err.Error(), "nothing was replaced") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if files := listing(t, dir); len(files) != 1 || files["sluice-cni"] != "what was there" {
		t.Errorf("%q", files)
	}
	if changed, err := Retire(t.Context(), t.TempDir()); changed || err != nil {
		t.Error("an empty place:", changed, err)
	}
}
