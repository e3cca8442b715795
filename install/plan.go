package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// A Step changes one file of the conf dir.
type Step struct {
	Path   string // below the conf dir
	Before []byte // nil: there was none
	After  []byte // nil: it is removed
	Why    string
	like   string // a file whose mode and owner it takes, when it is new
}

func (s Step) String() string {
	verb := "write"
	switch {
	case s.After == nil:
		verb = "remove"
	case s.Before != nil:
		verb = "rewrite"
	}
	return fmt.Sprintf("%s %s: %s", verb, s.Path, s.Why)
}

// choice is the mode taken, and why.
type choice struct {
	mode Mode
	why  string
	list list // the primary's
}

// choose settles Auto and refuses what cannot be. dropIns says whether the runtime
// reads them, because is how that is known.
func choose(d directory, want Mode, dropIns bool, because string) (choice, error) {
	l, err := d.primary()
	if err != nil {
		return choice{}, err
	}
	c := choice{want, "as told", l}
	if err := l.chains(); err != nil {
		return c, err
	}
	switch {
	case want == Auto && l.single:
		c.mode, c.why = Own, l.file+" is a single plugin and no list, to which nothing can be added"
	case want == Auto && l.inlined:
		c.mode, c.why = Append, l.file+" has loadOnlyInlinedPlugins, which forbids files beside it"
	case want == Auto && dropIns:
		c.mode, c.why = DropIn, because
	case want == Auto:
		c.mode, c.why = Append, because
	case want == DropIn && (l.single || l.inlined):
		return c, fmt.Errorf("mode dropin: %s is a single plugin or has loadOnlyInlinedPlugins, so no file beside it is read; use --mode auto", l.file)
	case want == Append && l.single:
		return c, fmt.Errorf("mode append: %s is a single plugin and no list; use --mode own or auto", l.file)
	}
	if c.mode == Own {
		return c, d.takesOwn(l)
	}
	return c, nil
}

// steps make the directory what the choice says. What comes first is what adds, so
// that the runtime never reads a directory in which our entry is nowhere.
func (c choice) steps(d directory, entry json.RawMessage) ([]Step, error) {
	var steps []Step
	add := func(s Step) {
		if !bytes.Equal(s.Before, s.After) {
			steps = append(steps, s)
		}
	}
	place := filepath.Join(c.list.name, dropInName)
	switch c.mode {
	case DropIn:
		before := d.dropIns[c.list.name]
		if before == nil || !same(before, entry) {
			add(Step{place, before, append(compact(entry), '\n'), "the entry, beside " + c.list.file, c.list.file})
		}
	case Append:
		after, err := c.list.with(entry)
		if err != nil {
			return nil, err
		}
		add(Step{c.list.file, c.list.raw, after, "the entry, in the list of " + c.list.owner(), ""})
	case Own:
		from := c.list
		if !from.single { // ours in the primary's list would be twice in ours
			raw, err := from.without()
			if err != nil {
				return nil, err
			}
			if from, err = parse(from.file, raw); err != nil {
				return nil, err
			}
		}
		after, err := from.owned(entry)
		if err != nil {
			return nil, err
		}
		add(Step{ownName, d.files[ownName], after, "a list of our own, from " + c.list.file, c.list.file})
	}
	return append(steps, c.leftovers(d)...), nil
}

// leftovers are our entries of other modes, other networks and other days.
func (c choice) leftovers(d directory) []Step {
	var steps []Step
	for _, s := range removal(d) {
		switch {
		case c.mode == DropIn && s.Path == filepath.Join(c.list.name, dropInName),
			c.mode == Append && s.Path == c.list.file,
			c.mode == Own && s.Path == ownName:
			continue
		}
		s.Why = "its entry is elsewhere now"
		steps = append(steps, s)
	}
	return steps
}

// removal takes our entry out of every file. Files that cannot be read are left
// alone: nobody can use them.
func removal(d directory) []Step {
	var steps []Step
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		raw := d.files[name]
		if name == ownName {
			steps = append(steps, Step{name, raw, nil, "the list of our own", ""})
			continue
		}
		l, err := parse(name, raw)
		if err != nil || l.single || !l.has() {
			continue
		}
		if after, err := l.without(); err == nil {
			steps = append(steps, Step{name, raw, after, "without the entry", ""})
		}
	}
	for _, network := range slices.Sorted(maps.Keys(d.dropIns)) {
		steps = append(steps, Step{filepath.Join(network, dropInName), d.dropIns[network], nil, "the entry beside a list", ""})
	}
	return steps
}

// vanished are the steps when no primary is left: our own list must not outlive the
// one that it was made from.
func vanished(d directory, err error) []Step {
	if raw, there := d.files[ownName]; there && errors.Is(err, errNoNetwork) {
		return []Step{{ownName, raw, nil, "the configuration that it was made from is gone", ""}}
	}
	return nil
}
