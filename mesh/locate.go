package mesh

// Located is an object found in a stream, whether or not it can be used.
type Located struct {
	Identity
	Extent Extent
	Source Source
}

// Locate lists the objects of a stream by their headers alone, in order, so that
// one which is not accepted can still be found and taken out.
func Locate(name string, data []byte, opts DecodeOptions) []Located {
	if opts.Namespace == "" {
		opts.Namespace = "default"
	}
	d := &decoder{file: name, namespace: opts.Namespace, headersOnly: true}
	data = d.checkEncoding(data)
	for _, doc := range splitDocuments(data) {
		d.document(data, doc)
	}
	var out []Located
	for _, r := range d.resources {
		out = append(out, Located{r.Identity(), r.Extent, r.Source})
	}
	return out
}
