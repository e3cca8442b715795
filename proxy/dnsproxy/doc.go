// Package dnsproxy answers the DNS queries of one workload, which the rules bring
// to it: names that are registered from what the snapshot says of them, others from
// the machine's resolvers or, under policy, not at all.
//
// A query's way through the files: packet.go or stream.go (receive) ▸ query.go
// (read) ▸ judge.go (whose is the name) ▸ local.go | upstream.go (answer, by way of
// cache.go) ▸ reply.go (write).
//
// It allocates no addresses (package vip does) and looks nothing up for the proxy
// itself (package dns does). Every byte from either side is hostile.
package dnsproxy
