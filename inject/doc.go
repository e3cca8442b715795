// Package inject writes into manifests what makes their pods governed: the annotations
// that say what is captured, and where no agent serves the node a sidecar. YAML or JSON in,
// the same out: what is put in stands in lines of its own, and every other byte stays,
// comments, order and objects of other kinds among them.
package inject
