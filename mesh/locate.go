package mesh

import "github.com/sluice-cni/sluice/internal/yamltext"

// Located is an object found in a stream, whether or not it can be used.
type Located struct {
	Identity
	Extent Extent
	Source Source
}

// Locate lists the objects of a stream by their headers alone, in order, so that
// one which is not accepted can still be found and taken out.
func Locate(name string, data []byte, opts DecodeOptions) []Located {
	out, _ := LocateReadable(name, data, opts)
	return out
}

// Unreadable is a part of a stream that is no YAML, no text at all, or no object:
// nobody can say which objects it is meant to hold.
type Unreadable struct {
	Text  []byte
	Issue Issue // why, and where
}

// LocateReadable is Locate for who must know of the parts too that it sees nothing in.
func LocateReadable(name string, data []byte, opts DecodeOptions) ([]Located, []Unreadable) {
	if opts.Namespace == "" {
		opts.Namespace = "default"
	}
	d := &decoder{file: name, namespace: opts.Namespace, headersOnly: true}
	data = d.checkEncoding(data)
	for _, doc := range yamltext.Documents(data) {
		d.document(data, doc)
	}
	var out []Located
	for _, r := range d.resources {
		out = append(out, Located{r.Identity(), r.Extent, r.Source})
	}
	return out, d.unreadable
}
