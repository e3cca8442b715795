// Package crowd writes as many resources as the largest users have, for benchmarks.
package crowd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Small writes a ServiceEntry, a VirtualService and a DestinationRule for host n, as short
// as they are in documentation.
func Small(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: host-%[1]d
spec:
  hosts:
  - host-%[1]d.example.com
  ports:
  - number: 443
    name: https
    protocol: HTTP
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: host-%[1]d
spec:
  hosts:
  - host-%[1]d.example.com
  http:
  - match:
    - uri:
        prefix: /slow
    route:
    - destination:
        host: host-%[1]d.example.com
    timeout: 30s
  - route:
    - destination:
        host: host-%[1]d.example.com
    timeout: 3s
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: host-%[1]d
spec:
  host: host-%[1]d.example.com
  trafficPolicy:
    tls:
      mode: SIMPLE
`, n)
	return b.Bytes()
}

// shop is the metadata of a realistic object.
const shop = `metadata:
  name: shop-%[1]d
  namespace: team-%[2]d
  labels:
    app.kubernetes.io/part-of: shop
    app.kubernetes.io/managed-by: argocd
`

// Realistic writes the three for hosts with several ports, routes, conditions and
// settings, as they grow in use: about 750 bytes each.
func Realistic(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
`+shop+`spec:
  hosts:
  - api-%[1]d.shop.example.com
  - static-%[1]d.shop.example.com
  ports:
  - number: 80
    name: http
    protocol: HTTP
    targetPort: 443
  - number: 443
    name: tls
    protocol: TLS
  location: MESH_EXTERNAL
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
`+shop+`spec:
  hosts:
  - api-%[1]d.shop.example.com
  http:
  - name: upload
    match:
    - method:
        exact: POST
      uri:
        prefix: /v1/files
    - uri:
        regex: "/v[0-9]+/blobs/[a-f0-9-]+"
    route:
    - destination:
        host: api-%[1]d.shop.example.com
        port:
          number: 80
    timeout: 120s
    retries:
      attempts: 0
  - name: canary
    match:
    - headers:
        x-canary:
          exact: "true"
      uri:
        prefix: /v2/
    route:
    - destination:
        host: api-%[1]d.shop.example.com
        port:
          number: 80
      weight: 90
    - destination:
        host: static-%[1]d.shop.example.com
        port:
          number: 80
      weight: 10
    timeout: 10s
  - name: rest
    route:
    - destination:
        host: api-%[1]d.shop.example.com
        port:
          number: 80
    timeout: 3s
    retries:
      attempts: 2
      perTryTimeout: 1s
      retryOn: connect-failure,refused-stream,503
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
`+shop+`spec:
  host: api-%[1]d.shop.example.com
  trafficPolicy:
    connectionPool:
      tcp:
        connectTimeout: 3s
    tls:
      mode: SIMPLE
      sni: api-%[1]d.shop.example.com
      subjectAltNames:
      - api-%[1]d.shop.example.com
    portLevelSettings:
    - port:
        number: 80
      tls:
        mode: SIMPLE
        sni: api-%[1]d.shop.example.com
`, n, n%20)
	return b.Bytes()
}

// Stream writes the resources of n hosts into one stream.
func Stream(n int, of func(int) []byte) []byte {
	var b bytes.Buffer
	for i := range n {
		b.Write(of(i))
	}
	return b.Bytes()
}

// Write writes the resources of n hosts into a directory, in files of one object each.
func Write(dir string, n int, of func(int) []byte) error {
	for i := range n {
		for k, object := range bytes.SplitAfter(of(i), []byte("---\n"))[1:] {
			if err := os.WriteFile(filepath.Join(dir, File(i, k)), bytes.TrimSuffix(object, []byte("---\n")), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// File names the file of a host's object: 0 is its ServiceEntry, 1 its VirtualService, 2
// its DestinationRule.
func File(n, object int) string { return fmt.Sprintf("%05d-%d.yaml", n, object) }
