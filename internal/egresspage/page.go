// Package egresspage has the resources of Istio's page "Control Egress Traffic", as they are
// written there: what the demo and tests of every floor begin with.
package egresspage

import _ "embed" // the texts

var (
	// HTTPBin is a ServiceEntry: httpbin.org over HTTP.
	//
	//go:embed httpbin-ext.yaml
	HTTPBin string
	// Google is a ServiceEntry and a DestinationRule: www.google.com by HTTP at port 443,
	// over which the proxy begins TLS. The rule has spec.name for spec.host, which Istio's
	// own definitions do not know any more.
	//
	//go:embed google-ext.yaml
	Google string
	// Timeout is a VirtualService: 3 s for httpbin.org.
	//
	//go:embed httpbin-timeout.yaml
	Timeout string
)
