// Package grpc holds tests of gRPC through the proxy with grpc-go at both ends. It is
// a module of its own, so that the product's go.mod does not know grpc-go.
package grpc
