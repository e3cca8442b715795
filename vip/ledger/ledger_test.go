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

// wanted registers each host in a namespace of its own.
func wanted(hosts ...string) []vip.Wanted {
	out := make([]vip.Wanted, len(hosts))
	for i, host := range hosts {
		out[i] = vip.Wanted{Host: host, Namespaces: []string{host}}
	}
	return out
}

// rivals finds two names that hash to the same address, so that who came first
// decides.
func rivals(t *testing.T) (first, second string) {
	home := map[vip.Slot]string{}
	for i := range 100_000 {
		host := "h" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String()
		b, _ := vip.Book(nil).Assign(wanted(host), time.Time{})
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
	before := l.Assign(wanted(first))
	both := l.Assign(wanted(first, second))
	if !slices.Equal(before[first], both[first]) || both[first][0] == both[second][0] {
		t.Fatalf("%v, then %v", before, both)
	}
	l.Close()
	if again := open(t, dir).Assign(wanted(second, first)); !maps.EqualFunc(again, both, slices.Equal) {
		t.Errorf("%v became %v", both, again)
	}
	if without := open(t, "").Assign(wanted(second, first)); maps.EqualFunc(without, both, slices.Equal) {
		t.Error("the test proves nothing: without a file it comes out the same")
	}
}

func TestAHostThatLeftIsRememberedInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := rivals(t)
	l := open(t, dir)
	was := l.Assign(wanted(first))[first]
	l.Assign(nil)
	l.Close()
	l = open(t, dir)
	if got := l.Assign(wanted(second))[second]; got[0] == was[0] {
		t.Errorf("%s is %s's again after a restart", got[0], first)
	}
	if got := l.Assign(wanted(first, second))[first]; !slices.Equal(got, was) {
		t.Errorf("%v came back as %v", was, got)
	}
}

// A file of before there were parts has the same addresses; from then on it says in whose
// part each is, which outlives a restart.
func TestAFileWithoutPartsIsReadAndGetsThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const before = `{"hosts": {"a.test": {"address": "240.240.9.9"}, "b.test": {"address": "240.240.9.10", "left": "2026-01-01T00:00:00Z"}}}`
	if err := os.WriteFile(filepath.Join(dir, Name), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	all := []vip.Wanted{{Host: "a.test", Namespaces: []string{"shop"}}}
	for range 2 {
		l := open(t, dir)
		got := l.Assign(all)
		l.Close()
		if got["a.test"][0] != netip.MustParseAddr("240.240.9.9") {
			t.Errorf("a.test has %v", got["a.test"])
		}
		data, err := os.ReadFile(filepath.Join(dir, Name))
		book, odd := decode(data)
		if err != nil || odd != nil || book["a.test"].Namespace != "shop" {
			t.Errorf("%v, %v\n%s", err, odd, data)
		}
		// And now it has left, and is in the part still.
		l = open(t, dir)
		l.Assign(nil)
		if a := l.book["a.test"]; a.Namespace != "shop" || a.Left.IsZero() {
			t.Errorf("what has left is %+v", a)
		}
		l.Close()
		all = []vip.Wanted{{Host: "a.test", Namespaces: []string{"shop", "other"}}}
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
		got := open(t, dir).Assign(wanted("a.test", "b.test"))
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
	if got := l.Assign(wanted("a.test")); len(got["a.test"]) != 2 || !strings.Contains(said.String(), "cannot be kept") {
		t.Errorf("%v, said %q", got, said.String())
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, Name+".tmp"), []byte("half of it, of a process that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Assign(wanted("a.test"))
	if data, err := os.ReadFile(filepath.Join(dir, Name)); err != nil || !strings.Contains(string(data), "a.test") {
		t.Errorf("%s, %v", data, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestThatNamesHaveNoAddressIsSaidOnce(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	l, err := Open("", slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	all := make([]vip.Wanted, vip.Slots/2+2)
	for i := range all {
		all[i] = vip.Wanted{Host: "h" + time.Duration(i).String(), Namespaces: []string{"shop"}}
	}
	if got := l.Assign(all); len(got) != vip.Slots/2 {
		t.Errorf("%d", len(got))
	}
	l.Assign(all)
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
		b.Assign(wanted("x.test"), time.Now())
	})
}
