package main

import (
	"bytes"
	"fmt"
)

const destinationRules = "destinationrules.networking.istio.io"

// In a definition of istio.io/api, for each of its versions.
const (
	host     = "\n              host:\n"
	needsIt  = "\n            required:\n            - host\n"
	version  = "\n    schema:\n"
	withName = `
              name:
                description: The older spelling of host.
                type: string`
	needsEither = `
            x-kubernetes-validations:
            - message: host must be set, or name, which is its older spelling
              rule: has(self.host) != has(self.name)
`
)

// withOlderName lets a DestinationRule be written with spec.name in place of spec.host,
// as in the days of "Control Egress Traffic". Istio's definition refuses it, and sluice
// reads it: whoever follows that page with kubectl then needs to change nothing. Where
// Istio is installed its own definition stays.
func withOlderName(definition []byte) ([]byte, error) {
	versions := bytes.Count(definition, []byte(version))
	for _, change := range []struct{ from, to string }{{host, withName + host}, {needsIt, needsEither}} {
		if n := bytes.Count(definition, []byte(change.from)); n != versions {
			return nil, fmt.Errorf("definition %q: has %q in %d places and %d versions: istio.io/api has changed; see what spec.name needs now", destinationRules, change.from, n, versions)
		}
		definition = bytes.ReplaceAll(definition, []byte(change.from), []byte(change.to))
	}
	return definition, nil
}
