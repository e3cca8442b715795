package mesh

import (
	"bytes"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unique"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/internal/yamltext"
)

// DecodeOptions says how to read what a file leaves open.
type DecodeOptions struct {
	// Namespace is that of objects which name none; default "default".
	Namespace string
	// Unplaced leaves lines and columns out, for bytes that nobody sees, as an API
	// server's.
	Unplaced bool
}

// Decode reads YAML or JSON: any number of documents, Lists included. It returns
// the objects that can be used and everything there is to say about all of them,
// sorted by place. name is how issues call the file.
func Decode(name string, data []byte, opts DecodeOptions) ([]*Resource, Issues) {
	if opts.Namespace == "" {
		opts.Namespace = "default"
	}
	d := &decoder{file: name, namespace: opts.Namespace, unplaced: opts.Unplaced}
	data = d.checkEncoding(data)
	d.documents(data, yamltext.Documents(data))
	d.duplicates()
	d.issues.Sort()
	return d.resources, d.issues
}

// decoder reads one stream. Its first fields are the stream's, the others those
// of the document and the object it is in.
type decoder struct {
	file, namespace string
	resources       []*Resource
	issues          Issues
	unreadable      []Unreadable
	headersOnly     bool
	unplaced        bool

	line    int // lines before the document
	aliased int // values that aliases brought in
	depth   int // of merges
	object  *Resource
}

func (d *decoder) checkEncoding(data []byte) []byte {
	if utf8.Valid(data) && !bytes.ContainsRune(data, 0) {
		return data
	}
	line := 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == 0 || r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		rest = rest[size:]
	}
	d.cannotRead(data, line, "not UTF-8 text; save the file as UTF-8")
	return nil
}

// documents reads many on as many processors as there are.
func (d *decoder) documents(data []byte, docs []yamltext.Document) {
	workers := runtime.GOMAXPROCS(0)
	if workers == 1 || len(docs) < 100 {
		for _, doc := range docs {
			d.document(data, doc)
		}
		return
	}
	var all sync.WaitGroup
	var parts []*decoder
	for part := range slices.Chunk(docs, (len(docs)+workers-1)/workers) {
		p := &decoder{file: d.file, namespace: d.namespace, unplaced: d.unplaced, headersOnly: d.headersOnly}
		parts = append(parts, p)
		all.Go(func() {
			for _, doc := range part {
				p.document(data, doc)
			}
		})
	}
	all.Wait()
	for _, p := range parts {
		d.resources, d.issues, d.unreadable = append(d.resources, p.resources...), append(d.issues, p.issues...), append(d.unreadable, p.unreadable...)
	}
}

func (d *decoder) document(data []byte, doc yamltext.Document) {
	d.line, d.aliased, d.object = doc.Line-1, 0, nil
	var root yaml.Node
	if err := yaml.Unmarshal(data[doc.Start:doc.End], &root); err != nil {
		d.syntax(err, data, doc)
		return
	}
	if root.Kind == 0 || len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
		return // nothing but comments
	}
	extent := Extent{Start: doc.Start, End: doc.End, Item: -1}
	n := root.Content[0]
	if n.Kind != yaml.MappingNode {
		message := "not an object; write apiVersion, kind, metadata and spec"
		if n.Kind == yaml.SequenceNode {
			message = "a list of objects; write --- between them, or kind: List with items"
		}
		d.add(Error, n, "", "", message)
		d.unreadable = append(d.unreadable, Unreadable{data[doc.Start:doc.End], d.issues[len(d.issues)-1]})
		return
	}
	if items := d.listItems(n); items != nil {
		for i, item := range items.Content {
			extent.Item = i
			d.one(item, extent)
		}
		return
	}
	d.one(n, extent)
}

var yamlErrorLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

// parserProblem begins what yaml.v3's parser says, which counts lines from 0 where its
// scanner counts from 1 (parser.fail in decode.go).
var parserProblem = regexp.MustCompile(`^(?:did not find expected (?:<|node content|'-' indicator|key|',' or)|found (?:undefined tag handle|duplicate %|incompatible YAML))`)

// syntax reports what the YAML parser could not read; its line counts from the
// document's first.
func (d *decoder) syntax(err error, data []byte, doc yamltext.Document) {
	line, message, text := doc.Line, err.Error(), data[doc.Start:doc.End]
	if m := yamlErrorLine.FindStringSubmatch(message); m != nil {
		message = message[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = d.line + n
			if parserProblem.MatchString(message) {
				line++ // behind the last line where the end is what was not expected
				line = min(line, doc.Line+bytes.Count(bytes.TrimRight(text, " \t\r\n"), []byte("\n")))
			}
		}
	}
	line += aliasLine(message, text)
	d.cannotRead(text, line, "not YAML: "+message+"; "+adviseOn(message, lineAt(text, line-d.line)))
}

func (d *decoder) cannotRead(text []byte, line int, message string) {
	issue := Issue{File: d.file, Line: line, Column: 1, Message: message}
	d.issues = append(d.issues, issue)
	d.unreadable = append(d.unreadable, Unreadable{text, issue})
}

// listItems gives the objects of a `kind: List`, nil when n is no List.
func (d *decoder) listItems(n *yaml.Node) *yaml.Node {
	kind, items := yamltext.Value(n, "kind"), yamltext.Value(n, "items")
	if kind == nil || !isList(kind.Value) {
		return nil
	}
	if items == nil || items.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.SequenceNode}
	}
	if items.Kind != yaml.SequenceNode {
		d.wrongShape(items, items, "items", "a list (- value)")
		return &yaml.Node{Kind: yaml.SequenceNode}
	}
	return items
}

func isList(kind string) bool {
	single, ok := strings.CutSuffix(kind, "List")
	return ok && (single == "" || slices.Contains(Kinds, single))
}

// one reads one object.
func (d *decoder) one(n *yaml.Node, extent Extent) {
	at := n
	if n = d.follow(n); n == nil {
		return
	}
	d.object = nil
	if n.Kind != yaml.MappingNode {
		d.add(Error, at, "", "", "not an object; write apiVersion, kind, metadata and spec")
		return
	}
	before := len(d.issues)
	r, spec := d.header(n)
	r.Extent = extent
	if r.Spec == nil {
		return
	}
	if d.headersOnly {
		d.resources = append(d.resources, r)
		return
	}
	d.spec(r, n, spec)
	slices.SortFunc(r.fields, func(a, b fieldPosition) int { return strings.Compare(a.path.Value(), b.path.Value()) })
	d.issues = append(d.issues, news(validate(r), d.issues[before:])...)
	if !d.issues[before:].HasErrors() {
		d.resources = append(d.resources, r)
	}
}

// news leaves out what validation says about fields that could not even be read.
func news(found, told Issues) Issues {
	return slices.DeleteFunc(found, func(i Issue) bool {
		return slices.ContainsFunc(told, func(t Issue) bool {
			return t.Severity == Error && (i.Field == t.Field || inside(i.Field, t.Field) || inside(t.Field, i.Field))
		})
	})
}

func (d *decoder) spec(r *Resource, n *yaml.Node, spec pair) {
	if spec.value == nil || spec.value.Tag == "!!null" {
		d.add(Error, n, "spec", "", "is missing; say what the "+r.Kind+" is about")
		return
	}
	d.record("spec", spec.key)
	d.message(r.Spec.ProtoReflect(), spec.value, "spec")
}

// duplicates reports objects that stand in the stream twice.
func (d *decoder) duplicates() {
	first := make(map[Identity]*Resource, len(d.resources))
	d.resources = slices.DeleteFunc(d.resources, func(r *Resource) bool {
		other := first[r.Identity()]
		if other == nil {
			first[r.Identity()] = r
			return false
		}
		d.issues = append(d.issues, DuplicateIssue(r, other))
		return true
	})
}

// DuplicateIssue is the complaint about r, which is there already as other.
func DuplicateIssue(r, other *Resource) Issue {
	return r.Issue(Error, "metadata.name", r.Name, fmt.Sprintf(
		"is there already, in %s; remove one of them or give it another name", other.Source.Place()))
}

// record remembers where a field was written.
func (d *decoder) record(path string, n *yaml.Node) {
	d.object.fields = append(d.object.fields, fieldPosition{unique.Make(path), int32(d.lineOf(n)), int32(d.columnOf(n))})
}

func (d *decoder) lineOf(n *yaml.Node) int {
	if d.unplaced {
		return 0
	}
	return d.line + n.Line
}

func (d *decoder) columnOf(n *yaml.Node) int {
	if d.unplaced {
		return 0
	}
	return n.Column
}

// add reports an issue at a node.
func (d *decoder) add(s Severity, n *yaml.Node, field, value, message string) {
	i := Issue{Severity: s, File: d.file, Line: d.lineOf(n), Column: d.columnOf(n), Field: field, Value: shorten(value), Message: message}
	if d.object != nil {
		i.Kind, i.Namespace, i.Name = d.object.Kind, d.object.Namespace, d.object.Name
	}
	d.issues = append(d.issues, i)
}

// shorten keeps a value that is quoted in a message to a line.
func shorten(value string) string {
	if runes := []rune(value); len(runes) > 80 {
		return string(runes[:77]) + "..."
	}
	return value
}
