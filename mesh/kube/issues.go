package kube

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/inforce"
)

// Issues is everything there is to say about the objects as they stand.
func (s *Store) Issues() mesh.Issues {
	s.check()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all mesh.Issues
	for _, i := range s.unfollowed {
		all = append(all, i)
	}
	for _, about := range []map[id]mesh.Issues{s.said, s.together} {
		for _, issues := range about {
			all = append(all, issues...)
		}
	}
	all.Sort()
	return all
}

// say replaces what is said about an object, logs what is new of it, and returns how many
// errors that are more. The caller holds s.mu.
func (s *Store) say(about id, now mesh.Issues) (errors int) {
	before := s.said[about]
	s.logNew(before, now)
	if s.said[about] = now; len(now) == 0 {
		delete(s.said, about)
	}
	return len(now.Of(mesh.Error)) - len(before.Of(mesh.Error))
}

// sayUnfollowed replaces what is said about a kind as a whole: the Feed has logged it.
// That the server is away is about no kind. It returns how many errors that are more. The
// caller holds s.mu.
func (s *Store) sayUnfollowed(k kubeapi.Kind, err error) (more int) {
	if s.unfollowed[k].Severity == mesh.Error && s.unfollowed[k].Message != "" {
		more--
	}
	delete(s.unfollowed, k)
	issue := mesh.Issue{Severity: mesh.Error, File: k.String(), Kind: k.Name}
	switch {
	case err == nil || errors.Is(err, kubeapi.ErrUnreachable):
		return more
	case errors.Is(err, kubeapi.ErrMissing):
		issue.Severity = mesh.Notice
	default:
		more++
	}
	issue.Message = err.Error()
	s.unfollowed[k] = issue
	return more
}

// mostLines bounds what the log says of an object at a time: one may have tens of thousands
// of issues, and be written again and again, for the logs of all nodes.
const mostLines = 10

// logNew logs what was not said before, errors first.
func (s *Store) logNew(before, now mesh.Issues) {
	said := make(map[mesh.Issue]bool, len(before))
	for _, i := range before {
		said[i] = true
	}
	news := slices.DeleteFunc(slices.Clone(now), func(i mesh.Issue) bool { return said[i] })
	slices.SortStableFunc(news, func(a, b mesh.Issue) int { return cmp.Compare(a.Severity, b.Severity) })
	for n, i := range news {
		if n == mostLines {
			s.log.Warn("there is more to say of the object than the log has room for", "object", i.File, "left_out", len(news)-n)
			return
		}
		level := slog.LevelInfo
		switch i.Severity {
		case mesh.Error:
			level = slog.LevelError
		case mesh.Warning:
			level = slog.LevelWarn
		}
		s.log.Log(context.Background(), level, i.String())
	}
}

// check looks at the resources in force together, unless that was done, and says what
// is new.
func (s *Store) check() {
	s.mu.Lock()
	snapshot, generation := inforce.Latest(&s.state)
	done := s.reviewed == generation
	s.mu.Unlock()
	if done || snapshot == nil {
		return
	}
	now := map[id]mesh.Issues{}
	for _, i := range snapshot.Check() {
		at := subject(i)
		now[at] = append(now[at], i)
	}
	s.work.Lock()
	s.mu.Lock()
	var tell []Verdict
	if s.reviewed < generation {
		for at, issues := range now {
			s.logNew(s.together[at], issues)
			if o := s.objects[at]; o != nil && !slices.Equal(s.together[at], issues) {
				tell = append(tell, Verdict{at.kind, at.key, o.uid, o.generation, issues, false})
			}
		}
		s.together, s.reviewed = now, generation
	}
	s.mu.Unlock()
	s.work.Unlock()
	s.tell(tell)
}

// subject is the object that an issue is about.
func subject(i mesh.Issue) id {
	return id{kindOf(i.Kind), kubeapi.Key{Namespace: i.Namespace, Name: i.Name}}
}

// pace has something done after it was wanted: once a second at most, and for no more
// than a tenth of the time.
type pace struct {
	timer   *time.Timer
	waiting bool
	next    time.Time
}

func newPace() *pace {
	p := &pace{timer: time.NewTimer(time.Hour)}
	p.timer.Stop()
	return p
}

func (p *pace) want() {
	if !p.waiting {
		p.waiting = true
		p.timer.Reset(max(0, time.Until(p.next)))
	}
}

func (p *pace) do(work func()) {
	began := time.Now()
	work()
	p.waiting, p.next = false, began.Add(max(time.Second, 10*time.Since(began)))
}
