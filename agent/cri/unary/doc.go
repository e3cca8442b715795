// Package unary makes unary gRPC calls over a unix socket with package net/http, and
// reads and writes their messages field by field with protowire. It is for callers who
// want a handful of calls of a stable API and not its generated code.
//
// The protocol is https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
package unary
