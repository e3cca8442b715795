// Package credential reads what TLS to servers is made from: authorities, a client's
// certificate and key, revocation lists. They come from files or from a named
// credential, and are read again when they have changed.
//
//	store := credential.NewStore(credential.Directory("/etc/sluice-credentials"), log)
//	set := store.Open(credential.Wanted{Name: "partner", Namespace: "shop", Verify: true})
//	material, err := set.Material() // for each connection
//
// Nothing here is ever logged but names and what is wrong.
package credential

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Wanted names what the TLS of a cluster is made from.
type Wanted struct {
	// Files, "" for none. An empty CACertificates means the system's authorities.
	CACertificates, ClientCertificate, PrivateKey, CRL string
	// Namespace and Name are those of a credential, which takes the place of all files.
	Namespace, Name string
	// Present says that a client's certificate is shown to the server.
	Present bool
	// Verify says that the server's certificate is checked.
	Verify bool
}

func (w Wanted) String() string {
	if w.Name != "" {
		return w.Namespace + "/" + w.Name
	}
	var files []string
	for _, f := range w.files() {
		files = append(files, f.path)
	}
	return strings.Join(files, ", ")
}

// Material is that, read. It does not change: what is read anew is another Material.
type Material struct {
	Roots *x509.CertPool   // nil: the system's
	Pair  *tls.Certificate // nil: none is presented
	CRL   *Lists           // nil: revocation is not checked
}

// Source has credentials by name. It may be asked by many goroutines at once.
type Source interface {
	// Version says which content a credential has. It is asked for every connection.
	// The error is fs.ErrNotExist where there is no such credential.
	Version(namespace, name string) (Version, error)
	// Read gives the content by key: tls.crt, ca.crt and so on.
	Read(namespace, name string) (map[string][]byte, error)
}

// Version is one state of a content.
type Version struct {
	Text string // another for each state
	// Changed is when it became so; zero where a content always changes as a whole.
	Changed time.Time
}

// Error is about a credential, or files, that TLS cannot do without.
type Error struct {
	What string // its name
	Err  error
}

func (e *Error) Error() string { return e.What + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Store shares what is read among all who want the same. A process has one.
type Store struct {
	// Files says why a file that a resource names is not to be read, nil where it is; nil:
	// each is. It is set before anything is opened.
	Files func(field, path string) error

	source Source
	log    *slog.Logger
	now    func() time.Time

	mu   sync.Mutex
	sets map[Wanted]*Set
}

// NewStore makes a store. source has the named credentials, nil: nobody has any.
func NewStore(source Source, log *slog.Logger) *Store {
	if source == nil {
		source = nowhere{}
	}
	return &Store{source: source, log: log, now: time.Now, sets: map[Wanted]*Set{}}
}

// Open shares what is wanted; nothing is read yet. Close gives it back.
func (s *Store) Open(w Wanted) *Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.sets[w]
	if set == nil {
		set = &Set{store: s, wanted: w}
		s.sets[w] = set
	}
	set.users++
	return set
}

// Set is what is wanted, as it was last read well.
type Set struct {
	store  *Store
	wanted Wanted
	users  int // of the store, under its mutex

	mu      sync.Mutex
	looked  bool
	version string    // of what was read last
	good    *Material // nil before there was any
	err     error     // why what was read last cannot be used
	failing bool      // and that this has been told
	seen    time.Time // when good was last known to be the content there is
}

// Close gives a Set back. It can still be used by who is about to.
func (s *Set) Close() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.users--; s.users == 0 && s.store.sets[s.wanted] == s {
		delete(s.store.sets, s.wanted)
	}
}

// settleTime is how long a content must have been left alone before it takes the
// place of another: who replaces several files does so in several steps. Who never
// leaves it alone waits for maxSettleTime; so long, what was there before is fresh
// enough. What nobody has asked for in longer may be many changes behind, and is not
// used while the latest settles.
const (
	settleTime    = 50 * time.Millisecond
	maxSettleTime = time.Second
)

// maxReadings bounds how often a content is read that changes while it is read.
const maxReadings = 3

// Material looks whether the content has changed, and reads it if so. What cannot be
// used, such as a key that does not belong to its certificate, leaves what was there
// before in use, and is told once. An *Error means that there never was anything.
func (s *Set) Material() (*Material, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wanted.allowed(s.store.Files); err != nil {
		return s.failed(err)
	}
	version, err := s.wanted.version(s.store.source)
	switch {
	case err != nil:
		s.looked = false
		return s.failed(err)
	case s.looked && version.Text == s.version:
		if s.err == nil {
			s.seen = s.store.now()
		}
		return s.last()
	case s.good != nil && s.unsettled(version.Changed):
		return s.good, nil
	}
	material, version, err := s.read(version)
	s.looked, s.version = err == nil || !changing(err), version.Text
	if err != nil {
		return s.failed(err)
	}
	switch {
	case s.failing:
		s.store.log.Info("certificates can be used again", "credential", s.wanted.String())
	case s.good != nil:
		s.store.log.Info("certificates were read anew", "credential", s.wanted.String())
	}
	s.good, s.err, s.failing, s.seen = material, nil, false, s.store.now()
	return s.good, nil
}

// unsettled says that a content may still be written to. A clock that was set back
// must not hold it up.
func (s *Set) unsettled(changed time.Time) bool {
	now := s.store.now()
	age := now.Sub(changed)
	return age >= 0 && age < settleTime && now.Sub(s.seen) < maxSettleTime
}

func (s *Set) read(version Version) (*Material, Version, error) {
	for range maxReadings {
		material, err := s.wanted.read(s.store.source)
		after, gone := s.wanted.version(s.store.source)
		if gone != nil {
			return nil, version, gone
		}
		if after.Text == version.Text {
			return material, version, err
		}
		version = after
	}
	return nil, version, errChanging
}

// failed keeps what was good.
func (s *Set) failed(err error) (*Material, error) {
	s.err = &Error{What: s.what(), Err: err}
	if s.good != nil && !s.failing {
		s.failing = true
		s.store.log.Warn("certificates cannot be read anew; those from before stay in use",
			"credential", s.wanted.String(), "error", err)
	}
	return s.last()
}

func (s *Set) last() (*Material, error) {
	if s.good != nil {
		return s.good, nil
	}
	return nil, s.err
}

func (s *Set) what() string {
	if s.wanted.Name != "" {
		return fmt.Sprintf("credential %q", s.wanted.String())
	}
	return "certificates"
}
