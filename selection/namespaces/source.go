// Package namespaces makes a selection policy of what a cluster says: the labels and
// annotations of its Namespaces, and a ConfigMap with what a node has in its policy
// files.
//
//	kubectl label namespace shop sluice.dev/inject=true
//	kubectl annotate namespace shop sluice.dev/outboundPolicy=Observe
//
// docs/selection.md has all of them.
package namespaces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/selection"
)

// settle is how long changes gather before a policy is made of them: whoever labels a
// thousand namespaces changes the node's policy a few times, not a thousand. What comes
// after a quiet time waits for no more than this.
const settle = 100 * time.Millisecond

// Source makes policies of Namespaces and a ConfigMap. It is a selection.Source.
//
// What the ConfigMap says stands over what namespaces say. While it cannot be read, and
// once it is gone, its last good content stays in force; so does the whole last policy
// while the API server is away. Where neither says what is selected, only what asks for
// it is: silence never captures a node.
type Source struct {
	log       *slog.Logger
	configMap kubeapi.Key
	// Said is told what is wrong with an object, nil for nothing any more, each time that
	// it changes; for Events. It is set before the Feed runs and must not wait.
	Said func(k kubeapi.Kind, o kubeapi.Object, err error)

	changed chan struct{} // has room for one

	mu         sync.Mutex
	namespaces map[string]selection.NamespacePolicy // that say something
	uids       map[string]string                    // theirs
	inVain     map[string]string                    // what they say without an effect, by name
	wrong      map[string]string                    // by kind and key, what is
	policy     *selection.Policy                    // the ConfigMap's last good content; nil: none
	present    bool                                 // the ConfigMap is there, good or bad
	complete   [2]bool                              // Namespaces, the ConfigMap
}

var _ selection.Source = (*Source)(nil)

// New follows Namespaces, and the ConfigMap of that key, with f. One that was never there
// says nothing; one that must not be read, or never could be, is waited for.
func New(f *kubeapi.Feed, configMap kubeapi.Key, log *slog.Logger) *Source {
	s := &Source{
		log: log, configMap: configMap, Said: func(kubeapi.Kind, kubeapi.Object, error) {},
		changed: make(chan struct{}, 1), namespaces: map[string]selection.NamespacePolicy{}, uids: map[string]string{}, inVain: map[string]string{}, wrong: map[string]string{},
	}
	f.Follow(kubeapi.Namespaces, kubeapi.Selector{}, func(d kubeapi.Delta) {
		s.namespacesChanged(d, func(key kubeapi.Key) { f.Keep(kubeapi.Namespaces, key) })
	})
	// By its name: whoever may read one ConfigMap may list it so.
	f.Follow(kubeapi.ConfigMaps, kubeapi.Selector{Namespace: configMap.Namespace, Fields: "metadata.name=" + configMap.Name}, func(d kubeapi.Delta) {
		s.configMapChanged(d, func() { f.Keep(kubeapi.ConfigMaps, configMap) })
	})
	return s
}

func (s *Source) namespacesChanged(d kubeapi.Delta, keep func(kubeapi.Key)) {
	for _, o := range d.Changed {
		s.mu.Lock()
		of, kept, err := read(o, s.namespaces[o.Name])
		if silent(of) {
			s.forget(o.Name)
		} else {
			s.namespaces[o.Name], s.uids[o.Name] = of, o.UID
		}
		s.mu.Unlock()
		if kept {
			keep(o.Key)
		}
		s.judged(kubeapi.Namespaces, o, err)
	}
	s.mu.Lock()
	for _, key := range d.Gone {
		s.forget(key.Name)
		delete(s.wrong, problemOf(kubeapi.Namespaces, key))
	}
	s.mu.Unlock()
	s.told(0, d)
}

func (s *Source) forget(namespace string) {
	delete(s.namespaces, namespace)
	delete(s.uids, namespace)
	delete(s.inVain, namespace)
}

func (s *Source) configMapChanged(d kubeapi.Delta, keep func()) {
	for _, o := range d.Changed {
		p, err := compile(o)
		s.mu.Lock()
		if s.present = true; err == nil {
			s.policy = p
		}
		s.mu.Unlock()
		if err != nil {
			keep()
		}
		s.judged(kubeapi.ConfigMaps, o, err)
	}
	if len(d.Gone) > 0 {
		s.mu.Lock()
		s.present = false
		last := s.policy != nil
		if !last {
			delete(s.wrong, problemOf(kubeapi.ConfigMaps, s.configMap))
		}
		s.mu.Unlock()
		if last {
			keep()
			s.judged(kubeapi.ConfigMaps, kubeapi.Object{Key: s.configMap}, errGone)
		}
	}
	s.told(1, d)
}

// errGone is no word of whoever governs the cluster: a prune, a rename or half an
// uninstallation must not capture, or let go, whatever it spoke of.
var errGone = errors.New("is gone; put it back, or one with empty data to have it say nothing")

// told notes that a kind has been told, and has a policy made. Of the ConfigMap that it
// is complete counts where it was read well, or surely is not there: the server's refusal,
// or a mistake in it, do not say what it says.
func (s *Source) told(which int, d kubeapi.Delta) {
	s.mu.Lock()
	known := d.Complete
	if which == 1 {
		known = s.policy != nil || known && !s.present && !errors.Is(d.Err, kubeapi.ErrForbidden)
	}
	s.complete[which] = s.complete[which] || known
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// clip bounds what is said of an object: annotations of a namespace are up to 256 KiB, each of
// which may be wrong.
func clip(text string) string {
	const most = 2000 // bytes
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func problemOf(k kubeapi.Kind, key kubeapi.Key) string { return k.Name + " " + key.String() }

// judged notes and says what is wrong with an object, when it is news.
func (s *Source) judged(k kubeapi.Kind, o kubeapi.Object, err error) {
	name, text := problemOf(k, o.Key), ""
	if err != nil {
		text = clip(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	s.mu.Lock()
	before := s.wrong[name]
	if s.wrong[name] = text; text == "" {
		delete(s.wrong, name)
	}
	s.mu.Unlock()
	switch {
	case text == before:
		return
	case text == "":
		s.log.Info("can be read again", "object", name)
	case k == kubeapi.ConfigMaps:
		s.log.Error("the cluster's policy cannot be used; the one that was read last stays in force", "object", name, "error", text)
	default:
		s.log.Warn("something that a namespace says of its pods cannot be read; it is as it was, and the rest is in force", "object", name, "error", text)
	}
	s.Said(k, o, err)
}

// Problem is what is wrong with the ConfigMap, and with namespaces, now; "" is nothing.
func (s *Source) Problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.wrong)) {
		all = append(all, name+": "+s.wrong[name])
	}
	const most = 10
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, "; ")
}

// Run calls update with the policy once Namespaces and the ConfigMap are known, out of
// the journal or the server's list, and with each other one, until ctx ends; then it
// returns nil.
func (s *Source) Run(ctx context.Context, update func(*selection.Policy)) error {
	var last *selection.Policy
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
		pause.Reset(settle)
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		p := s.whole()
		if p == nil {
			continue
		}
		if !selection.Same(p, last) {
			last = p
			update(p)
		}
		s.sayInVain(p)
	}
}

// whole is the policy that is in force, nil while not everything is known.
func (s *Source) whole() *selection.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.complete[0] || !s.complete[1] {
		return nil
	}
	of := &selection.Policy{}
	if len(s.namespaces) > 0 {
		of.Namespaces = maps.Clone(s.namespaces)
	}
	p := selection.Merge(s.policy, of, &selection.Policy{Selection: selection.Annotated})
	if err := p.Validate(); err != nil {
		// Two that are right by themselves and not together: Merge takes out what is
		// known of; the last policy stays for the rest.
		s.log.Error("what the cluster's policy and its namespaces say together cannot be used; the last policy stays in force", "error", err)
		return nil
	}
	return p
}

// sayInVain says of each namespace, once, which of its labels and annotations have no
// effect, since the ConfigMap has another word.
func (s *Source) sayInVain(p *selection.Policy) {
	type word struct {
		o    kubeapi.Object
		text string
	}
	var news []word
	s.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(s.namespaces)) {
		text := ""
		if fields := p.InVain(name, s.namespaces[name]); len(fields) > 0 {
			why := "enforces these or says otherwise of the namespace"
			if slices.Contains(p.ExemptNamespaces, name) {
				why = "has the namespace in exemptNamespaces"
			}
			text = clip(fmt.Sprintf("not in force, since ConfigMap %s %s: %s", s.configMap, why, strings.Join(spelled(fields), ", ")))
		}
		if text != "" && text != s.inVain[name] {
			news = append(news, word{kubeapi.Object{Key: kubeapi.Key{Name: name}, UID: s.uids[name]}, text})
		}
		s.inVain[name] = text
	}
	s.mu.Unlock()
	for _, w := range news {
		s.log.Warn("a namespace's word has no effect", "object", problemOf(kubeapi.Namespaces, w.o.Key), "error", w.text)
		s.Said(kubeapi.Namespaces, w.o, errors.New(w.text))
	}
}

// spelled are a policy's fields as a Namespace has them.
func spelled(fields []string) (out []string) {
	for _, field := range fields {
		switch field {
		case selection.Inject:
			out = append(out, "label "+LabelInject)
		case "enforce":
			out = append(out, "label "+LabelEnforce)
		case selection.OutboundPolicy:
			out = append(out, "annotation "+selection.AnnotationOutboundPolicy)
		default:
			out = append(out, "annotation "+annotationOf(field))
		}
	}
	return out
}
