// Package secrets has the credentials that resources name (credentialName), as Secrets of
// the workload's namespace. Each is read by its name when a connection wants it, and again
// while it is wanted: sluice never lists or watches Secrets, so RBAC can grant it single
// namespaces and the verb get alone.
package secrets

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/internal/wholefile"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// Server gives one object; *kubeapi.Cluster is one.
type Server interface {
	Get(context.Context, kubeapi.Kind, kubeapi.Key) (kubeapi.Object, error)
}

// Source is a credential.Source. Run must run for it to read anything.
type Source struct {
	server Server
	dir    string
	log    *slog.Logger
	times  times
	wake   chan struct{}

	mu  sync.Mutex
	all map[kubeapi.Key]*secret
	of  map[string]int // namespace ▸ how many of all
	at  map[string]int // namespace ▸ how many of them are being read
}

// times are the waits, other ones for tests.
type times struct {
	// refresh is how long what was read is used before it is read again, up to a fifth
	// less so that a thousand nodes do not ask at once; missed the same for a Secret that
	// is not there or could not be read.
	refresh, missed time.Duration
	// wanted is how long after the last connection it is still read again, kept how long
	// what was read is kept then, for a connection that comes while the server is away.
	wanted, kept time.Duration
	// answer is how long the first connection waits.
	answer time.Duration
	// refused is how long the server must have refused, in three answers at least, what
	// it gave before: one that starts refuses what it will allow.
	refused time.Duration
}

const refusedTimes = 3

// The connect timeout is 10 s unless a DestinationRule says less.
var usual = times{refresh: 30 * time.Second, missed: 15 * time.Second, wanted: time.Hour, kept: 24 * time.Hour, answer: 3 * time.Second, refused: time.Minute}

const (
	// most bounds how many are kept, mostOfNamespace those of one namespace: who writes
	// resources there can name Secrets without end.
	most, mostOfNamespace = 4096, 256
	// maxSecret bounds what is read back: the API server's own bound for an object.
	maxSecret = 3 << 20
	// places is how many are read at once.
	places = 4
)

// New makes a Source. What was read is kept in dir as well, by root alone, so that an
// agent which starts while the API server is away has it; dir should be in memory (/run),
// as a kubelet's mounts of Secrets are. "" keeps nothing.
func New(server Server, dir string, log *slog.Logger) *Source {
	return &Source{server: server, dir: dir, log: log, times: usual, wake: make(chan struct{}, 1), all: map[kubeapi.Key]*secret{}, of: map[string]int{}, at: map[string]int{}}
}

// secret is one as it was last read.
type secret struct {
	key     kubeapi.Key
	known   chan struct{} // closed once there is an answer that is not too old
	content map[string][]byte
	version string
	err     error // why there is no content

	wanted  time.Time // by a connection, last
	due     time.Time // to be read
	touched time.Time // its file
	reading bool
	warned  string
	// How often reading it was refused since the last other answer, and since when.
	refusals  int
	refusedAt time.Time
}

// refused takes in an answer, and says whether the server means it.
func (one *secret) refused(err error, stands time.Duration) bool {
	if !errors.Is(err, kubeapi.ErrForbidden) {
		one.refusals = 0
		return false
	}
	if one.refusals++; one.refusals == 1 {
		one.refusedAt = time.Now()
	}
	return one.content == nil || one.refusals >= refusedTimes && time.Since(one.refusedAt) >= stands
}

// Version says which content there is. The first time it waits for an answer.
func (s *Source) Version(namespace, name string) (credential.Version, error) {
	one, err := s.want(kubeapi.Key{Namespace: namespace, Name: name})
	if err != nil {
		return credential.Version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return credential.Version{Text: one.version}, one.err
}

// Read gives the content that Version spoke of.
func (s *Source) Read(namespace, name string) (map[string][]byte, error) {
	one, err := s.want(kubeapi.Key{Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return one.content, one.err
}

// want is the secret, of which there has been an answer.
func (s *Source) want(key kubeapi.Key) (*secret, error) {
	if !named(key.Namespace) || !named(key.Name) {
		return nil, fmt.Errorf("credentialName %q is not a Secret's name: %w", key.Name, fs.ErrNotExist)
	}
	s.mu.Lock()
	one, now := s.all[key], time.Now()
	if one == nil {
		if err := s.room(key.Namespace); err != nil {
			s.mu.Unlock()
			return nil, err
		}
		one = &secret{key: key, known: make(chan struct{})}
		s.all[key] = one
		s.of[key.Namespace]++
		s.recall(one)
	}
	idle := now.Sub(one.wanted)
	one.wanted = now
	if !one.reading && one.due.Before(now) {
		s.nudge()
	}
	if isClosed(one.known) && idle > s.times.wanted {
		one.known = make(chan struct{}) // it was not read meanwhile, and may be withdrawn
	}
	known := one.known
	s.mu.Unlock()
	if isClosed(known) {
		return one, nil
	}
	limit := time.NewTimer(s.times.answer)
	defer limit.Stop()
	select {
	case <-known:
		return one, nil
	case <-limit.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.content != nil { // the last that is known: who comes next does not wait
		if !isClosed(one.known) {
			close(one.known)
		}
		return one, nil
	}
	return nil, fmt.Errorf("the API server has not answered yet: %w", kubeapi.ErrUnreachable)
}

// room says whether one more of a namespace is too many. The caller holds s.mu.
func (s *Source) room(namespace string) error {
	switch {
	case s.of[namespace] >= mostOfNamespace:
		return fmt.Errorf("more than %d Secrets of namespace %q are wanted on this node; name fewer in its DestinationRules", mostOfNamespace, namespace)
	case len(s.all) >= most:
		return fmt.Errorf("more than %d Secrets are wanted on this node", most)
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// named says that a name is one that Kubernetes gives: it becomes a path.
func named(name string) bool {
	return name != "" && len(name) <= 253 && name[0] != '.' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && !strings.Contains(name, "..")
}

func (s *Source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run reads what is wanted until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	var reads sync.WaitGroup
	defer reads.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	tidy := time.NewTicker(s.times.wanted)
	defer tidy.Stop()
	s.tidy(time.Now())
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-s.wake:
		case <-tidy.C:
			s.tidy(time.Now())
		}
		due, next := s.due(time.Now())
		for _, one := range due {
			reads.Go(func() {
				s.read(ctx, one)
				s.nudge()
			})
		}
		timer.Reset(next)
	}
}

// due are those to read now, as many as there are places; the next is after so long, or
// when one of them has been read.
func (s *Source) due(now time.Time) (due []*secret, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = s.times.refresh
	var waiting []*secret
	for key, one := range s.all {
		switch idle := now.Sub(one.wanted); {
		case one.reading:
		case idle > s.times.kept || idle > s.times.wanted && one.content == nil:
			delete(s.all, key)
			if s.of[key.Namespace]--; s.of[key.Namespace] == 0 {
				delete(s.of, key.Namespace)
			}
			s.forget(one)
		case idle > s.times.wanted:
		case !one.due.After(now):
			waiting = append(waiting, one)
		default:
			next = min(next, one.due.Sub(now))
		}
	}
	reading := 0
	for _, n := range s.at {
		reading += n
	}
	for ; reading < places && len(waiting) > 0; reading++ {
		one := slices.MinFunc(waiting, s.before)
		waiting = slices.DeleteFunc(waiting, func(w *secret) bool { return w == one })
		one.reading = true
		s.at[one.key.Namespace]++
		due = append(due, one)
	}
	return due, next
}

// before says whose turn is first: of the namespace of which fewest are being read, and of
// them the one that waits longest. So however many a namespace wants, others' come between.
func (s *Source) before(a, b *secret) int {
	return cmp.Or(cmp.Compare(s.at[a.key.Namespace], s.at[b.key.Namespace]), a.due.Compare(b.due))
}

// read asks the API server for one.
func (s *Source) read(ctx context.Context, one *secret) {
	object, err := s.server.Get(ctx, kubeapi.Secrets, one.key)
	var content map[string][]byte
	if err == nil {
		content, err = contentOf(object.JSON)
	}
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one.reading = false
	if s.at[one.key.Namespace]--; s.at[one.key.Namespace] == 0 {
		delete(s.at, one.key.Namespace)
	}
	again := s.times.refresh
	switch gone := errors.Is(err, kubeapi.ErrNotFound) || one.refused(err, s.times.refused); {
	case err == nil:
		version := versionOf(content)
		changed := one.content == nil || one.version != version
		one.content, one.version, one.err, one.warned = content, version, nil, ""
		if changed || time.Since(one.touched) > s.times.wanted {
			s.keep(one)
		}
	case gone:
		// What was read before is not used any more by who opens a credential anew: the
		// cluster says that it is not to be had.
		one.content, one.version, one.err = nil, "", explain(one.key, err)
		s.forget(one)
		again = s.times.missed
	case one.content == nil:
		one.err = err
		again = s.times.missed
	default: // the server is away, or refuses since a moment ago: what was read stands
		again = s.times.missed
	}
	if err != nil && !errors.Is(err, kubeapi.ErrNotFound) && one.warned != err.Error() {
		one.warned = err.Error()
		s.log.Warn("a Secret cannot be read", "secret", one.key.String(), "error", err)
	}
	one.due = time.Now().Add(again - rand.N(again/5+1))
	if !isClosed(one.known) {
		close(one.known)
	}
}

// explain says what to do in a cluster.
func explain(key kubeapi.Key, err error) error {
	if errors.Is(err, kubeapi.ErrNotFound) {
		return &missing{fmt.Sprintf("there is no Secret %s; create it with tls.crt and tls.key, or ca.crt: kubectl create secret generic %s -n %s --from-file=…", key, key.Name, key.Namespace)}
	}
	return fmt.Errorf("sluice may not read Secrets of namespace %q; name it in the chart's credentials.namespaces, or set credentials.everywhere: %w", key.Namespace, err)
}

// missing is fs.ErrNotExist in words of its own.
type missing struct{ text string }

func (e *missing) Error() string        { return e.text }
func (e *missing) Is(target error) bool { return target == fs.ErrNotExist }

func contentOf(data []byte) (map[string][]byte, error) {
	var o struct {
		Data map[string][]byte `json:"data"`
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("not a Secret: %w", err)
	}
	content := map[string][]byte{}
	for _, key := range credential.Keys() {
		if v, there := o.Data[key]; there {
			content[key] = v
		}
	}
	return content, nil
}

func versionOf(content map[string][]byte) string {
	sum := sha256.New()
	for _, key := range credential.Keys() {
		if v, there := content[key]; there {
			fmt.Fprintf(sum, "%s %d\n", key, len(v))
			sum.Write(v)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func (s *Source) file(key kubeapi.Key) string {
	return filepath.Join(s.dir, key.Namespace, key.Name+".json")
}

// recall takes what an agent before this one read, for when the server does not answer.
func (s *Source) recall(one *secret) {
	if s.dir == "" {
		return
	}
	data, err := wholefile.Read(s.file(one.key), maxSecret)
	if err != nil {
		return
	}
	if content := map[string][]byte{}; json.Unmarshal(data, &content) == nil {
		one.content, one.version = content, versionOf(content)
	}
}

func (s *Source) keep(one *secret) {
	if s.dir == "" {
		return
	}
	one.touched = time.Now()
	data, err := json.Marshal(one.content)
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(s.file(one.key)), 0o700); err == nil {
			err = wholefile.Replace(s.file(one.key), data, 0o600)
		}
	}
	if err != nil {
		s.log.Warn("a Secret cannot be kept over a restart of the agent", "secret", one.key.String(), "error", err)
	}
}

func (s *Source) forget(one *secret) {
	if s.dir != "" {
		os.Remove(s.file(one.key))
	}
}

// tidy removes files of agents before this one: of Secrets that nobody has wanted for as
// long as they are kept, and what one was about to write when it was killed.
func (s *Source) tidy(now time.Time) {
	if s.dir == "" {
		return
	}
	paths, _ := filepath.Glob(s.file(kubeapi.Key{Namespace: "*", Name: "*"})) // the pattern is well formed
	wholefile.Sweep(s.file(kubeapi.Key{Namespace: "*", Name: "*"}))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range paths {
		key := kubeapi.Key{Namespace: filepath.Base(filepath.Dir(path)), Name: strings.TrimSuffix(filepath.Base(path), ".json")}
		if info, err := os.Lstat(path); err == nil && s.all[key] == nil && now.Sub(info.ModTime()) > s.times.kept {
			os.Remove(path)
		}
	}
}
