package mesh

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Severity says what an issue means for the object that has it.
type Severity uint8

const (
	// Error means that the object is not accepted.
	Error Severity = iota
	// Warning means that it is accepted and probably not what its author wants.
	Warning
	// Notice means that it is accepted and does what it can: it is spelled in a way
	// that will go away, or says something that means less here than in a mesh.
	Notice
)

var severityNames = [...]string{"error", "warning", "notice"}

func (s Severity) String() string { return severityNames[s] }

// MarshalText makes the JSON form a word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Issue is one thing wrong with, or worth saying about, an object.
type Issue struct {
	Severity  Severity `json:"severity"`
	File      string   `json:"file,omitempty"`
	Line      int      `json:"line,omitempty"`   // 1-based, 0 unknown
	Column    int      `json:"column,omitempty"` // 1-based, 0 unknown
	Kind      string   `json:"kind,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name,omitempty"`
	Field     string   `json:"field,omitempty"` // spec.ports[0].protocol
	Value     string   `json:"value,omitempty"` // as written
	Message   string   `json:"message"`         // what is wrong; what to do
}

// String is file:line:column: severity: Kind namespace/name: field "value": message.
func (i Issue) String() string {
	var b strings.Builder
	if i.File != "" {
		b.WriteString(i.File + ":")
		if i.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", i.Line, i.Column)
		}
		b.WriteByte(' ')
	}
	b.WriteString(i.Severity.String() + ": ")
	if i.Kind != "" {
		b.WriteString(i.object() + ": ")
	}
	if i.Field != "" {
		b.WriteString(i.Field)
		if i.Value != "" {
			fmt.Fprintf(&b, " %q", i.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(i.Message)
	return b.String()
}

func (i Issue) object() string {
	if i.Name == "" {
		return i.Kind
	}
	return i.Kind + " " + i.Namespace + "/" + i.Name
}

// Identity of the object that it is about; without a name it is about none that is known.
func (i Issue) Identity() Identity { return Identity{i.Kind, i.Namespace, i.Name} }

// Issues is everything said about some resources.
type Issues []Issue

// String is a line per issue.
func (is Issues) String() string {
	lines := make([]string, len(is))
	for n, i := range is {
		lines[n] = i.String()
	}
	return strings.Join(lines, "\n")
}

// HasErrors says whether any issue is an error.
func (is Issues) HasErrors() bool {
	return slices.ContainsFunc(is, func(i Issue) bool { return i.Severity == Error })
}

// Except leaves out those that are among others.
func (is Issues) Except(others Issues) (out Issues) {
	among := make(map[Issue]bool, len(others))
	for _, i := range others {
		among[i] = true
	}
	for _, i := range is {
		if !among[i] {
			out = append(out, i)
		}
	}
	return out
}

// Of gives the issues of one severity.
func (is Issues) Of(s Severity) Issues {
	var out Issues
	for _, i := range is {
		if i.Severity == s {
			out = append(out, i)
		}
	}
	return out
}

// Err is an error that lists the errors among the issues, nil when there are none.
func (is Issues) Err() error {
	if errs := is.Of(Error); len(errs) > 0 {
		return errs
	}
	return nil
}

// Error makes a list of issues an error.
func (is Issues) Error() string { return is.String() }

// MarshalJSON writes an empty list as [], which is what a script wants.
func (is Issues) MarshalJSON() ([]byte, error) {
	if is == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]Issue(is))
}

// Sort orders issues by place, as a reader walks through the files.
func (is Issues) Sort() {
	slices.SortStableFunc(is, func(a, b Issue) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Message, b.Message),
		)
	})
}
