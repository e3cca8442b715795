package mesh

import (
	"strings"
	"testing"
)

func TestARouteThatLeadsNowhereSaysWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	for routes, want := range map[string]string{
		"http: [{route: [{destination: {host: gone.test}}]}]":                                       "so requests are answered 503",
		"tcp: [{match: [{port: 1}], route: [{destination: {host: gone.test}}]}]":                    "so connections are reset",
		"tls: [{match: [{sniHosts: [a.test]}], route: [{destination: {host: gone.test}}]}]":         "so connections are reset",
		"http: [{route: [{destination: {host: a.test, subset: v1}}]}]":                              "so requests are answered 503",
		"tls: [{match: [{sniHosts: [a.test]}], route: [{destination: {host: a.test, subset: x}}]}]": "so connections are reset",
	} {
		resources, issues := Decode("v.yaml", []byte(`
kind: ServiceEntry
apiVersion: networking.istio.io/v1
metadata: {name: a}
spec: {hosts: [a.test], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}
---
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {name: v}
spec: {hosts: [a.test], `+routes+`}
`), DecodeOptions{})
		_, more := Build(resources, Options{})
		var text strings.Builder
		for _, i := range append(issues, more...) {
			text.WriteString(i.String() + "\n")
		}
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s: %s\nwant %s", routes, text.String(), want)
		}
	}
}
