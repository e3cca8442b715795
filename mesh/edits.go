package mesh

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// Edits is what a rule does to the heads of its requests and of their answers
// (http[].headers, http[].route[].headers and http[].rewrite.authority), a
// destination's own among them. It is immutable.
type Edits struct {
	Request, Response *HeaderEdits // nil: nothing
	// Authority is what the server is told it was asked for, in Host or :authority;
	// "" leaves that as it was. It has no say in which server that is.
	Authority string
}

// HeaderEdits changes the fields of a head: some go no further, others are put
// behind those that are left. A nil one changes nothing.
type HeaderEdits struct {
	without []string // names in lower case
	with    []HeaderField
	lines   string // with, as HTTP/1 writes it
}

// HeaderField is a field with its name in lower case.
type HeaderField struct{ Name, Value string }

// Drops says that the fields of that name, in whatever case, go no further. It
// allocates nothing.
func (e *HeaderEdits) Drops(name string) bool {
	if e == nil {
		return false
	}
	for _, without := range e.without {
		if len(without) == len(name) && strings.EqualFold(without, name) {
			return true
		}
	}
	return false
}

// Puts says that e has a field of its own of that name, which is in lower case.
func (e *HeaderEdits) Puts(name string) bool {
	return e != nil && slices.ContainsFunc(e.with, func(f HeaderField) bool { return f.Name == name })
}

// Fields are those that e puts behind the others. The caller must not change them.
func (e *HeaderEdits) Fields() []HeaderField {
	if e == nil {
		return nil
	}
	return e.with
}

// AppendLines writes Fields as lines of an HTTP/1 head.
func (e *HeaderEdits) AppendLines(b []byte) []byte {
	if e == nil {
		return b
	}
	return append(b, e.lines...)
}

// compileEdits puts the edits of a rule and of one of its destinations into one.
// Where the rule has one destination, Istio makes one list of both, of which the
// destination's part comes second; of several, each destination's edits come before
// the rule's (Envoy's WeightedCluster). own may be nil.
func compileEdits(route *networking.HTTPRoute, own *networking.Headers) *Edits {
	stages := [][]*networking.Headers{{route.Headers, own}}
	if len(route.Route) > 1 {
		stages = [][]*networking.Headers{{own}, {route.Headers}}
	}
	var request, response edited
	for _, stage := range stages {
		request.apply(stage, (*networking.Headers).GetRequest)
		response.apply(stage, (*networking.Headers).GetResponse)
	}
	delete(response, "server") // the proxy's own, in every answer
	e := &Edits{Request: request.compile(), Response: response.compile(), Authority: authorityOf(route, own)}
	if *e == (Edits{}) {
		return nil
	}
	return e
}

// authorityOf is the name that a server is told: what rewrite says, else the rule's
// headers, else the destination's.
func authorityOf(route *networking.HTTPRoute, own *networking.Headers) string {
	if a := route.GetRewrite().GetAuthority(); a != "" {
		return a
	}
	for _, headers := range []*networking.Headers{route.Headers, own} {
		for _, operations := range []map[string]string{headers.GetRequest().GetSet(), headers.GetRequest().GetAdd()} {
			for _, name := range slices.Sorted(maps.Keys(operations)) {
				if namesAuthority(name) && operations[name] != "" {
					return operations[name]
				}
			}
		}
	}
	return ""
}

// namesAuthority knows the field that says what was asked for, in either version.
func namesAuthority(name string) bool {
	return strings.EqualFold(name, "host") || strings.EqualFold(name, ":authority")
}

// edited is what becomes of the fields of each name, in lower case.
type edited map[string]*fieldEdit

type fieldEdit struct {
	drop   bool // what was there before
	values []string
}

// apply does what the stage's operations say, in Envoy's order: all that is removed,
// all that is set, all that is added; a later one of a kind comes after.
func (e *edited) apply(stage []*networking.Headers, part func(*networking.Headers) *networking.Headers_HeaderOperations) {
	for _, headers := range stage {
		for _, name := range part(headers).GetRemove() {
			e.put(name, func(f *fieldEdit) { *f = fieldEdit{drop: true} })
		}
	}
	for _, headers := range stage {
		e.each(part(headers).GetSet(), func(f *fieldEdit, value string) { *f = fieldEdit{true, []string{value}} })
	}
	for _, headers := range stage {
		e.each(part(headers).GetAdd(), func(f *fieldEdit, value string) { f.values = append(f.values, value) })
	}
}

// each goes through the fields in the order of their names. One without a value is
// left out, as Envoy does.
func (e *edited) each(fields map[string]string, do func(f *fieldEdit, value string)) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := headerValue(fields[name])
		if value == "" || namesAuthority(name) {
			continue
		}
		e.put(name, func(f *fieldEdit) { do(f, value) })
	}
}

func (e *edited) put(name string, do func(f *fieldEdit)) {
	if *e == nil {
		*e = edited{}
	}
	name = strings.ToLower(name)
	if (*e)[name] == nil {
		(*e)[name] = new(fieldEdit)
	}
	do((*e)[name])
}

// headerValue is a value as it goes out: without the space around it, which no
// version of HTTP counts as part of it, and with %% as one per cent sign.
func headerValue(written string) string {
	return strings.ReplaceAll(strings.Trim(written, " \t"), "%%", "%")
}

func (e edited) compile() *HeaderEdits {
	if len(e) == 0 {
		return nil
	}
	out := new(HeaderEdits)
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e)) {
		f := e[name]
		if f.drop {
			out.without = append(out.without, name)
		}
		for _, value := range f.values {
			out.with = append(out.with, HeaderField{name, value})
			lines.WriteString(name + ": " + value + "\r\n")
		}
	}
	out.lines = lines.String()
	return out
}
