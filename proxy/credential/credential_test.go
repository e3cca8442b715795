package credential

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/ca"
)

// authority issues what tests read.
type authority struct{ *ca.Authority }

func newAuthority(t *testing.T, name string, above *authority) *authority {
	t.Helper()
	create := ca.New
	if above != nil {
		create = above.Under
	}
	a, err := create(name)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{a}
}

// issue gives a certificate and its key, as PEM.
func (a *authority) issue(t *testing.T, name string) (cert *x509.Certificate, certPEM, keyPEM []byte) {
	t.Helper()
	c, err := a.Issue(name)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err = ca.Pair(c)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf, certPEM, keyPEM
}

// list is a revocation list of a's, in force until a moment.
func (a *authority) list(t *testing.T, until time.Time, extensions []pkix.Extension, revoked ...*x509.Certificate) []byte {
	t.Helper()
	var serials []*big.Int
	for _, c := range revoked {
		serials = append(serials, c.SerialNumber)
	}
	list, err := a.Revoke(until, serials, extensions...)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clock is a store whose clock runs ahead of the files', so that all are settled.
func clock(source Source, log *bytes.Buffer) *Store {
	s := NewStore(source, slog.New(slog.NewTextHandler(log, nil)))
	s.now = func() time.Time { return time.Now().Add(time.Minute) }
	return s
}

func TestFilesAreReadAnewWhenTheyChange(t *testing.T) {
	t.Parallel()
	a, dir, log := newAuthority(t, "a", nil), t.TempDir(), &bytes.Buffer{}
	_, cert, key := a.issue(t, "one")
	_, cert2, key2 := a.issue(t, "two")
	w := Wanted{CACertificates: write(t, dir+"/ca", a.PEM()), ClientCertificate: write(t, dir+"/cert", cert),
		PrivateKey: write(t, dir+"/key", key), Present: true, Verify: true}
	set := clock(nil, log).Open(w)
	first, err := set.Material()
	if err != nil || first.Roots == nil || first.Pair == nil || first.Pair.Leaf.DNSNames[0] != "one" {
		t.Fatal(first, err)
	}
	if again, _ := set.Material(); again != first {
		t.Error("nothing has changed, and it was read again")
	}
	// The certificate comes before its key: the pair from before goes on, and that is said once.
	write(t, dir+"/cert", cert2)
	for range 3 {
		if torn, err := set.Material(); torn != first || err != nil {
			t.Errorf("of a torn pair: %v, %v", torn, err)
		}
	}
	write(t, dir+"/key", key2)
	if next, err := set.Material(); err != nil || next == first || next.Pair.Leaf.DNSNames[0] != "two" {
		t.Errorf("the new pair: %v", err)
	}
	if text := log.String(); strings.Count(text, "cannot be read anew") != 1 || strings.Count(text, "can be used again") != 1 {
		t.Error(text)
	}
	// What is taken away stays in use as well.
	os.Remove(dir + "/ca")
	for range 2 {
		if kept, err := set.Material(); err != nil || kept.Pair.Leaf.DNSNames[0] != "two" {
			t.Errorf("without its file: %v", err)
		}
	}
	if text := log.String(); strings.Count(text, "cannot be read anew") != 2 || !strings.Contains(text, "no such file") {
		t.Error(text)
	}
}

func TestWhatIsBeingWrittenIsLeftUntilItHasSettled(t *testing.T) {
	t.Parallel()
	a, b, dir := newAuthority(t, "a", nil), newAuthority(t, "b", nil), t.TempDir()
	s := clock(nil, &bytes.Buffer{})
	var now time.Time
	s.now = func() time.Time { return now }
	set := s.Open(Wanted{CACertificates: write(t, dir+"/ca", a.PEM()), Verify: true})
	now = time.Now() // the first content is taken at once
	first, err := set.Material()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/ca", append(a.PEM(), b.PEM()...))
	now = time.Now()
	if m, _ := set.Material(); m != first {
		t.Error("a file that has just been written to was read")
	}
	now = now.Add(settleTime)
	if m, _ := set.Material(); m == first {
		t.Error("a file that has settled was not read")
	}
	third, _ := set.Material()
	write(t, dir+"/ca", b.PEM())
	now = time.Now().Add(-time.Hour)
	if m, _ := set.Material(); m == third {
		t.Error("a clock that was set back holds a file up")
	}
}

// Certificates that were renewed several times while nobody made a connection: what was
// read long ago may be verified by no server any more.
func TestWhatWasReadLongAgoIsNotUsedWhileTheLatestSettles(t *testing.T) {
	t.Parallel()
	a, b, dir := newAuthority(t, "a", nil), newAuthority(t, "b", nil), t.TempDir()
	s := clock(nil, &bytes.Buffer{})
	now := time.Now()
	s.now = func() time.Time { return now }
	set := s.Open(Wanted{CACertificates: write(t, dir+"/ca", a.PEM()), Verify: true})
	now = time.Now().Add(-maxSettleTime)
	first, err := set.Material()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/ca", b.PEM())
	now = time.Now()
	next, err := set.Material()
	if err != nil || next == first {
		t.Errorf("what was read a second ago is still in use: %v", err)
	}
	// From then on the usual applies.
	write(t, dir+"/ca", append(a.PEM(), b.PEM()...))
	now = time.Now()
	if m, _ := set.Material(); m != next {
		t.Error("a file that has just been written to was read")
	}
}

// always is a content that has changed this very moment, whenever it is asked for.
type always struct {
	Directory
	now  *time.Time
	name func() string
}

func (a always) Version(string, string) (Version, error) {
	return Version{Text: a.name(), Changed: *a.now}, nil
}

func TestWhoNeverStopsWritingIsReadAllTheSame(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, "a", nil), t.TempDir()
	write(t, filepath.Join(dir, "default", "x", "ca.crt"), a.PEM())
	now, version := time.Unix(1000, 0), "1"
	s := clock(always{Directory(dir), &now, func() string { return version }}, &bytes.Buffer{})
	s.now = func() time.Time { return now }
	set := s.Open(Wanted{Namespace: "default", Name: "x", Verify: true})
	first, err := set.Material()
	if err != nil {
		t.Fatal(err)
	}
	begun := now
	for version = "2"; ; now = now.Add(settleTime / 2) {
		if m, _ := set.Material(); m != first {
			break
		}
		if now.Sub(begun) > 2*maxSettleTime {
			t.Fatal("it is never read")
		}
	}
	if now.Sub(begun) < maxSettleTime {
		t.Errorf("it was read after %s", now.Sub(begun))
	}
}

func TestADirectoryIsACredentialAsASecretIsMounted(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "a", nil)
	_, cert, key := a.issue(t, "one")
	_, other, otherKey := a.issue(t, "two")
	both := Wanted{Namespace: "shop", Name: "x", Present: true, Verify: true}
	roots := Wanted{Namespace: "shop", Name: "x", Verify: true}
	for name, c := range map[string]struct {
		files map[string][]byte
		want  Wanted
		leaf  string
		wrong string
	}{
		"of the type tls":            {map[string][]byte{"x/tls.crt": cert, "x/tls.key": key, "x/ca.crt": a.PEM()}, both, "one", ""},
		"opaque":                     {map[string][]byte{"x/cert": cert, "x/key": key, "x/cacert": a.PEM()}, both, "one", ""},
		"of both kinds":              {map[string][]byte{"x/cert": cert, "x/key": key, "x/tls.crt": other, "x/tls.key": otherKey, "x/ca.crt": a.PEM()}, both, "one", ""},
		"with authorities apart":     {map[string][]byte{"x/cert": cert, "x/key": key, "x-cacert/cacert": a.PEM()}, both, "one", ""},
		"authorities only":           {map[string][]byte{"x/ca.crt": a.PEM()}, roots, "", ""},
		"authorities apart only":     {map[string][]byte{"x-cacert/ca.crt": a.PEM()}, roots, "", ""},
		"nothing is checked":         {map[string][]byte{"x/cert": cert, "x/key": key}, Wanted{Namespace: "shop", Name: "x", Present: true}, "one", ""},
		"a certificate of no use":    {map[string][]byte{"x/cert": cert, "x/ca.crt": a.PEM()}, roots, "", ""},
		"missing":                    {nil, both, "", `credential "shop/x": there is no directory `},
		"missing, authorities apart": {map[string][]byte{"x-cacert/cacert": a.PEM()}, both, "", `credential "shop/x": there is no directory `},
		"missing authorities":        {map[string][]byte{"x/cert": cert, "x/key": key}, both, "", "has no authorities"},
		"empty authorities":          {map[string][]byte{"x/cert": cert, "x/key": key, "x/ca.crt": nil}, both, "", "has no authorities"},
		"missing key":                {map[string][]byte{"x/cert": cert, "x/cacert": a.PEM()}, both, "", "has no certificate with its key"},
		"the key of another":         {map[string][]byte{"x/cert": cert, "x/key": otherKey, "x/cacert": a.PEM()}, both, "", "private key does not match"},
		"half of it":                 {map[string][]byte{"x/ca.crt": a.PEM()[:100]}, roots, "", "ends in the middle"},
		"no PEM":                     {map[string][]byte{"x/ca.crt": []byte("hello")}, roots, "", "it must be PEM"},
		"no list":                    {map[string][]byte{"x/ca.crt": a.PEM(), "x/ca.crl": []byte("hello")}, roots, "", "no revocation list in it"},
		"of another namespace":       {map[string][]byte{"x/ca.crt": a.PEM()}, Wanted{Namespace: "other", Name: "x", Verify: true}, "", `credential "other/x": there is no directory `},
		"a name that leads out":      {map[string][]byte{"x/ca.crt": a.PEM()}, Wanted{Namespace: "shop", Name: "../shop/x", Verify: true}, "", "not a name"},
		"a namespace that leads out": {map[string][]byte{"x/ca.crt": a.PEM()}, Wanted{Namespace: "../shop", Name: "x", Verify: true}, "", "not a name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for path, data := range c.files {
				write(t, filepath.Join(dir, "shop", path), data)
			}
			m, err := clock(Directory(dir), &bytes.Buffer{}).Open(c.want).Material()
			if c.wrong != "" {
				var about *Error
				if !errors.As(err, &about) || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%v\nwant %s", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (m.Roots != nil) != c.want.Verify || (m.Pair != nil) != c.want.Present || m.Pair != nil && m.Pair.Leaf.DNSNames[0] != c.leaf {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestWithoutADirectoryThereAreNoCredentials(t *testing.T) {
	t.Parallel()
	_, err := clock(nil, &bytes.Buffer{}).Open(Wanted{Namespace: "default", Name: "x", Verify: true}).Material()
	if err == nil || !strings.Contains(err.Error(), `credential "default/x"`) || !strings.Contains(err.Error(), "--credentials") {
		t.Error(err)
	}
}

// Kubernetes puts a new content in place by leading one link elsewhere.
func TestAMountedSecretIsReadAnewWhenItsLinkChanges(t *testing.T) {
	t.Parallel()
	a, b, dir := newAuthority(t, "a", nil), newAuthority(t, "b", nil), t.TempDir()
	at := filepath.Join(dir, "default", "x")
	write(t, at+"/..1/ca.crt", a.PEM())
	write(t, at+"/..2/ca.crt", b.PEM())
	link := func(to, name string) {
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", at+"/..data")
	link("..data/ca.crt", at+"/ca.crt")
	set := clock(Directory(dir), &bytes.Buffer{}).Open(Wanted{Namespace: "default", Name: "x", Verify: true})
	first, err := set.Material()
	if err != nil {
		t.Fatal(err)
	}
	link("..2", at+"/..next")
	if err := os.Rename(at+"/..next", at+"/..data"); err != nil {
		t.Fatal(err)
	}
	next, err := set.Material()
	if err != nil || next == first || !next.Roots.Equal(b.Pool()) {
		t.Errorf("after the link has changed: %v", err)
	}
}

func TestWhoWantsTheSameSharesIt(t *testing.T) {
	t.Parallel()
	s := clock(nil, &bytes.Buffer{})
	w := Wanted{CACertificates: "/a", Verify: true}
	one, two := s.Open(w), s.Open(w)
	if one != two || s.Open(Wanted{CACertificates: "/b", Verify: true}) == one {
		t.Error("one set for each wish")
	}
	one.Close()
	if s.Open(w) != two {
		t.Error("still in use, and forgotten")
	}
	two.Close()
	two.Close()
	if len(s.sets) != 1 {
		t.Errorf("%d sets are kept", len(s.sets))
	}
}

func TestAPipeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	if _, err := clock(nil, &bytes.Buffer{}).Open(Wanted{CACertificates: os.DevNull, Verify: true}).Material(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}
