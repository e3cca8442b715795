// Package mesh turns Istio's networking resources into an immutable Snapshot
// that says what may leave a workload and how.
//
// It reads bytes and answers questions; it opens no file and no socket. Sources
// (mesh/file) bring the bytes, proxy asks the questions.
package mesh

import "google.golang.org/protobuf/proto"

// Resource is one decoded object. Its identity is Kind, Namespace and Name.
type Resource struct {
	APIVersion, Kind, Namespace, Name string
	Spec                              proto.Message
	Source                            Source
}
