// Package programs gives the tests of a cluster its programs as files. Each is built
// from a module of its own below tools/, whose go.mod says the version, and kept in the
// user's cache folder: Kubernetes takes five minutes the first time, everything else
// together about as long. Nothing is downloaded but Go modules.
//
// Build before isolating: inside there is no network to fetch modules from. A path is ""
// where the program has not been built.
package programs
