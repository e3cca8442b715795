// Package inject writes into manifests what makes their pods governed: the annotations
// that say what is captured, and where no agent serves the node a sidecar. YAML or JSON in,
// the same out. What is put in stands in lines of its own, or within the line where the text
// has a flow ({}, JSON), null, or an older value; of a sidecar that is replaced the comments go
// too. Every other byte stays, order and objects of other kinds among them.
package inject
