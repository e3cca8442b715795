package ledger

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/vip"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t *testing.T, dir string) *Ledger {
	t.Helper()
	l, err := Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// rivals finds two names that hash to the same address, so that who came first
// decides.
func rivals(t *testing.T) (first, second string) {
	home := map[vip.Slot]string{}
	for i := range 100_000 {
		host := "h" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String()
		b, _ := vip.Book(nil).Assign([]string{host}, time.Time{})
		slot, _ := b.Slot(host)
		if other := home[slot]; other != "" && other != host {
			return max(host, other), min(host, other)
		}
		home[slot] = host
	}
	t.Fatal("no two names with one home")
	return
}

func TestARestartChangesNoAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := rivals(t)
	l := open(t, dir)
	before := l.Assign([]string{first})
	both := l.Assign([]string{first, second})
	if !slices.Equal(before[first], both[first]) || both[first][0] == both[second][0] {
		t.Fatalf("%v, then %v", before, both)
	}
	l.Close()
	if again := open(t, dir).Assign([]string{second, first}); !maps.EqualFunc(again, both, slices.Equal) {
		t.Errorf("%v became %v", both, again)
	}
	if without := open(t, "").Assign([]string{second, first}); maps.EqualFunc(without, both, slices.Equal) {
		t.Error("the test proves nothing: without a file it comes out the same")
	}
}

func TestAHostThatLeftIsRememberedInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := rivals(t)
	l := open(t, dir)
	was := l.Assign([]string{first})[first]
	l.Assign(nil)
	l.Close()
	l = open(t, dir)
	if got := l.Assign([]string{second})[second]; got[0] == was[0] {
		t.Errorf("%s is %s's again after a restart", got[0], first)
	}
	if got := l.Assign([]string{first, second})[first]; !slices.Equal(got, was) {
		t.Errorf("%v came back as %v", was, got)
	}
}

func TestADamagedFileIsReadAsFarAsItGoes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"hosts": {"a.test": {"address": "240.240.9.9"}, "b.test": {"address": "240.240.9.9"}, "c.test": {"address": "10.0.0.1"}, "d.test": {}}}`: "240.240.9.9",
		`{"hosts": {"a.test": {"address": "240.240.9`: "",
		`[]`: "", ``: "", `null`: "", `{"hosts": null}`: "", `{"hosts": {"a.test": null}}`: "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, Name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := open(t, dir).Assign([]string{"a.test", "b.test"})
		if len(got) != 2 || got["a.test"][0] == got["b.test"][0] || want != "" && got["a.test"][0] != netip.MustParseAddr(want) {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestADirectoryIsOneProcesssOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	if _, err := Open(dir, quiet); err == nil || !strings.Contains(err.Error(), "its own directory") {
		t.Errorf("got %v", err)
	}
	l.Close()
	open(t, dir)
	if _, err := Open(filepath.Join(dir, "nosuch"), quiet); err == nil {
		t.Error("a directory that does not exist was accepted")
	}
}

func TestAFileThatCannotBeWrittenIsSaidAndTriedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	l, err := Open(dir, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if got := l.Assign([]string{"a.test"}); len(got["a.test"]) != 2 || !strings.Contains(said.String(), "cannot be kept") {
		t.Errorf("%v, said %q", got, said.String())
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	l.Assign([]string{"a.test"})
	if data, err := os.ReadFile(filepath.Join(dir, Name)); err != nil || !strings.Contains(string(data), "a.test") {
		t.Errorf("%s, %v", data, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestMoreNamesThanAddressesIsSaidOnce(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	l, err := Open("", slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	hosts := make([]string, vip.Slots+2)
	for i := range hosts {
		hosts[i] = "h" + time.Duration(i).String()
	}
	if got := l.Assign(hosts); len(got) != vip.Slots {
		t.Errorf("%d", len(got))
	}
	l.Assign(hosts)
	if strings.Count(said.String(), "without=2") != 1 {
		t.Errorf("said %q", said.String())
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"hosts": {"a.test": {"address": "240.240.9.9", "left": "2026-01-01T00:00:00Z"}, "b.test": {"address": "2001:2::1"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _ := decode(data)
		again, err := decode(encode(b))
		if err != nil || len(again) != len(b) {
			t.Fatalf("%v reads back as %v: %v", b, again, err)
		}
		b.Assign([]string{"x.test"}, time.Now())
	})
}
