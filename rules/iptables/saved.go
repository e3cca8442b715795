package iptables

import (
	"fmt"
	"strings"
)

// state is what iptables-save shows of ours in one family, by table.
type state map[string]*savedTable

// savedTable is the own part of one table.
type savedTable struct {
	chains  map[string][]string // rules as printed, by own chain
	order   []string            // the chains as they come
	callers []string            // rules elsewhere that lead to ours, whole: "-A OUTPUT ... -j SLUICE_X"
}

// read asks for a family's rules in the calling thread's namespace.
func (f *Firewall) read(fam family) (state, error) {
	text, err := f.host.run(nil, "", f.programs[fam].save)
	if err != nil {
		return nil, fmt.Errorf("read the %s rules: %w", fam.name, err)
	}
	return parseSaved(text), nil
}

// parseSaved picks what is ours out of iptables-save's text; whatever else is there
// belongs to others.
func parseSaved(text string) state {
	out := state{}
	var t *savedTable
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			t = &savedTable{chains: map[string][]string{}}
			out[line[1:]] = t
		case t == nil:
		case strings.HasPrefix(line, ":"+prefix):
			name, _, _ := strings.Cut(line[1:], " ")
			t.chains[name] = nil
			t.order = append(t.order, name)
		case strings.HasPrefix(line, "-A "+prefix):
			name, rule, _ := strings.Cut(line[len("-A "):], " ")
			t.chains[name] = append(t.chains[name], rule)
		case strings.HasPrefix(line, "-A ") && leadsToOurs(line):
			t.callers = append(t.callers, line)
		}
	}
	return out
}

// leadsToOurs reports a rule whose target, which comes last, is a chain of ours.
func leadsToOurs(rule string) bool {
	words := strings.Fields(rule)
	n := len(words)
	return n >= 2 && (words[n-2] == "-j" || words[n-2] == "-g") && strings.HasPrefix(words[n-1], prefix)
}

// empty reports that nothing of ours is there.
func (s state) empty() bool {
	for _, t := range s {
		if len(t.order) > 0 || len(t.callers) > 0 {
			return false
		}
	}
	return true
}

func (s state) table(name string) *savedTable {
	if t := s[name]; t != nil {
		return t
	}
	return &savedTable{chains: map[string][]string{}}
}

// commentIn is a rule's comment, "" for none.
func commentIn(rule string) string {
	_, after, found := strings.Cut(rule, "--comment ")
	if !found {
		return ""
	}
	if !strings.HasPrefix(after, `"`) {
		word, _, _ := strings.Cut(after, " ")
		return word
	}
	var out strings.Builder
	for i := 1; i < len(after); i++ {
		switch {
		case after[i] == '\\' && i+1 < len(after):
			i++
			out.WriteByte(after[i])
		case after[i] == '"':
			return out.String()
		default:
			out.WriteByte(after[i])
		}
	}
	return out.String()
}

// Words splits a line of iptables-save into arguments, undoing its quotes.
func Words(rule string) []string {
	var out []string
	var word strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(rule); i++ {
		switch c := rule[i]; {
		case c == '"':
			quoted, begun = !quoted, true
		case c == '\\' && quoted && i+1 < len(rule):
			i++
			word.WriteByte(rule[i])
		case c == ' ' && !quoted:
			if begun {
				out = append(out, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if begun {
		out = append(out, word.String())
	}
	return out
}
