// Package suite are the scenarios that need nothing of a cluster but a kubeconfig, with
// sluice installed in it: they run in the world that e2e/cluster makes, in kind, and in
// yours:
//
//	SLUICE_TEST_KUBECONFIG=~/.kube/config go test ./e2e/cluster/suite
//
// They make namespaces that begin with sluice-suite and delete them. Pods must reach
// httpbin.org and www.google.com, real or acted, and the node must have, or be able to
// pull, an image with bash and curl: SLUICE_TEST_APP_IMAGE, by default that of
// e2e/cluster/world.
package suite
