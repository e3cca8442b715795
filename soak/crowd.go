package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// crowd is the many services that nobody asks for, each a file with a ServiceEntry, a
// VirtualService and a DestinationRule.
type crowd struct {
	dir      string
	services int
}

// write writes all of them.
func (c crowd) write() error {
	for n := range c.services {
		if err := os.WriteFile(c.file(n), crowded(n, 0), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// change writes one of them anew, or takes it away for a while.
func (c crowd) change(d *draws) error {
	n := d.below(c.services)
	if d.oneIn(4) {
		if err := os.Remove(c.file(n)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return replaceFile(c.file(n), crowded(n, 1+d.below(1000)))
}

func (c crowd) file(n int) string { return filepath.Join(c.dir, fmt.Sprintf("crowd-%05d.yaml", n)) }

// crowded is the n-th file in one of its variants.
func crowded(n, variant int) []byte {
	return fmt.Appendf(nil, `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: crowd-%[1]d}
spec:
  hosts: [crowd-%[1]d.test]
  ports:
  - {number: 80, name: http, protocol: HTTP, targetPort: 443}
  - {number: 443, name: tls, protocol: TLS}
  resolution: DNS
  endpoints: [{address: server-%[2]d.crowd.test}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: crowd-%[1]d}
spec:
  hosts: [crowd-%[1]d.test]
  http:
  - match: [{uri: {prefix: /v1}, method: {exact: GET}}]
    route: [{destination: {host: crowd-%[1]d.test, port: {number: 80}}}]
    timeout: %[3]ds
  - route: [{destination: {host: crowd-%[1]d.test, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: crowd-%[1]d}
spec:
  host: crowd-%[1]d.test
  trafficPolicy: {tls: {mode: SIMPLE}, connectionPool: {tcp: {connectTimeout: %[4]ds}}}
`, n, variant, 1+variant%60, 1+variant%9)
}
