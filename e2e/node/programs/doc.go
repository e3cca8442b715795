// Package programs gives the tests of a node its programs as files: sluice and the
// CNI plugins built from this tree, the container runtimes, and the images' contents.
// What is not of this tree is kept in the user's cache folder, built or fetched once
// per version, also when several test binaries ask at the same time. Build before
// isolating: inside there is no network to fetch from.
package programs
