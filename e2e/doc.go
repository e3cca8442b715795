// Package e2e holds sluice to its promises on a real kernel: a pod's traffic is
// redirected by rules/nft, carried by proxy under resources that mesh/file reads
// from a directory, to servers in another namespace with real DNS and real TLS.
// It has tests only; the stage is package e2e/egress, and e2e/rows has a test for each
// row of Istio's API.
package e2e
