// Package node holds a node to its promises: the built programs, as processes, with
// real network namespaces and, by `make e2e-node`, real containerd over CRI, under load
// and while things are killed. It has tests only.
//
// The tests run in a world of their own (internal/lab): nothing they do outlives them
// or shows outside, save cgroups, which lie below /sluice-e2e and are removed. `make
// test` runs a short form without containerd; -args -full is the whole, and -runtime
// 2.4.2,1.6.20 brings container runtimes in.
package node
