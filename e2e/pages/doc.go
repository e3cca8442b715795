// Package pages holds sluice to Istio's documentation: the examples of egress in its
// tasks, reference and blog, written anew with other names and values as fixtures in
// testdata, do through real interception what their pages say, or are told about as
// docs/istio-compatibility.md has it. It has tests only.
package pages
