package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatACommandSendsIsCapturedOrRefusedAtOnce(t *testing.T) {
	t.Parallel()
	eachUser(t, func(t *testing.T, u user) {
		for _, name := range []string{"tcp", "dns", "udp", "escape"} {
			if out, complaints, code := result(t, u.probing(name)); code != 0 {
				t.Errorf("%s: exit code %d\n%s%s", name, code, out, complaints)
			}
		}
	})
}

func TestExitCodeIsTheCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := script("plain", "exit 21\n", 0o755) // no interpreter line: the shell runs it
	for _, c := range []struct {
		name string
		argv []string
		want int
		says string
	}{
		{"success", []string{"true"}, 0, ""},
		{"failure", []string{"sh", "-c", "exit 42"}, 42, ""},
		{"ended by SIGKILL", []string{"sh", "-c", "kill -9 $$"}, 137, ""},
		{"ended by SIGTERM", []string{"sh", "-c", "kill -15 $$"}, 143, ""},
		{"no such command", []string{"no-such-command-anywhere"}, 127, "command not found"},
		{"no such file", []string{filepath.Join(dir, "missing")}, 127, "no such file"},
		{"not executable", []string{script("data", "x", 0o644)}, 126, "permission denied"},
		{"a folder", []string{dir}, 126, "is a directory"},
		{"missing interpreter", []string{script("lost", "#!/nowhere/at/all\n", 0o755)}, 127, "interpreter"},
		{"script without interpreter line", []string{plain}, 21, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, complaints, code := result(t, user{}.program(c.argv...))
			if code != c.want || !strings.Contains(complaints, c.says) || (c.says == "") != (complaints == "") {
				t.Errorf("exit code %d, want %d; stderr %q, want %q in it", code, c.want, complaints, c.says)
			}
		})
	}
}

func TestCommandStaysTheSameUser(t *testing.T) {
	t.Parallel()
	eachUser(t, func(t *testing.T, u user) {
		want := "0 0"
		if u.sys != nil {
			want = fmt.Sprintf("%d %d", ordinary, ordinary)
		}
		if got, complaints, _ := result(t, u.shell("echo $(id -u) $(id -g)")); strings.TrimSpace(got) != want {
			t.Errorf("the command is %q, want %q %s", got, want, complaints)
		}
	})
}

func TestStandardStreamsAreTheCommands(t *testing.T) {
	t.Parallel()
	eachUser(t, func(t *testing.T, u user) {
		cmd := u.shell("cat; echo complaint >&2")
		cmd.Stdin = strings.NewReader("from a pipe")
		if out, complaints, _ := result(t, cmd); out != "from a pipe" || complaints != "complaint\n" {
			t.Errorf("got %q and %q", out, complaints)
		}
		// No standard stream at all.
		if _, _, code := result(t, u.program("sh", "-c", "exec <&- >&- 2>&-; exit 5")); code != 5 {
			t.Errorf("closed streams: exit code %d", code)
		}
	})
}

func TestArgumentsAndEnvironmentPassUnchanged(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	cmd := user{}.program("sh", "-c", `printf '%s|' "$@"; printf '%s' "$KEPT"`, "sh", "", "a b", "--", long)
	cmd.Env = append(cmd.Env, "KEPT=as it was")
	if out, complaints, _ := result(t, cmd); out != "|a b|--|"+long+"|as it was" {
		t.Errorf("got %.100q %s", out, complaints)
	}
}

func TestProgramsThatAreNotASandboxGoOn(t *testing.T) {
	t.Parallel()
	Init() // the test's own argv[0] is neither of ours: it returns
}
