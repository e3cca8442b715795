package mesh

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/internal/egresspage"
)

func TestNormalIsTodaysSpelling(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, yaml string
		want       []string // the JSON of each object, and after it what was changed
	}{{
		"the page's entry", egresspage.HTTPBin, []string{
			`{"apiVersion":"networking.istio.io/v1alpha3","kind":"ServiceEntry","metadata":{"name":"httpbin-ext","namespace":"default"},"spec":{"hosts":["httpbin.org"],"ports":[{"name":"http","number":80,"protocol":"HTTP"}],"resolution":"NONE"}}`,
			"spec.ports[0].protocol HTTP for http", "spec.resolution NONE, which was left out",
		},
	}, {
		"the page's rule", egresspage.Google[strings.Index(egresspage.Google, "---"):], []string{
			`{"apiVersion":"networking.istio.io/v1alpha3","kind":"DestinationRule","metadata":{"name":"google-ext","namespace":"default"},"spec":{"host":"www.google.com","trafficPolicy":{"tls":{"mode":"SIMPLE"}}}}`,
			"spec.host for spec.name",
		},
	}, {
		"other spellings", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop, labels: {app: a}, annotations: {note: x}, uid: "1", resourceVersion: "2"}
spec:
  host: a.com
  trafficPolicy:
    tls: {mode: simple}
    load_balancer: {consistentHash: {useSourceIp: true, minimumRingSize: 1024}}
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: 0}
      connectionPool: {tcp: {connectTimeout: 250ms}}
`, []string{
			`{"apiVersion":"networking.istio.io/v1","kind":"DestinationRule","metadata":{"annotations":{"note":"x"},"labels":{"app":"a"},"name":"a","namespace":"shop"},"spec":{"host":"a.com","trafficPolicy":{"loadBalancer":{"consistentHash":{"minimumRingSize":1024,"useSourceIp":true}},"portLevelSettings":[{"connectionPool":{"tcp":{"connectTimeout":"0.250s"}},"port":{"number":443},"tls":{"mode":"DISABLE"}}],"tls":{"mode":"SIMPLE"}}}}`,
			"spec.trafficPolicy.tls.mode SIMPLE for simple", "spec.trafficPolicy.loadBalancer for load_balancer", "spec.trafficPolicy.portLevelSettings[0].tls.mode DISABLE for 0",
		},
	}, {
		"what an API server acts on", `{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: a, uid: "1", finalizers: [a/b], ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: o, uid: "1", controller: true}]}, spec: {egress: [{hosts: ["./*"]}]}}`, []string{
			`{"apiVersion":"networking.istio.io/v1","kind":"Sidecar","metadata":{"finalizers":["a/b"],"name":"a","namespace":"default","ownerReferences":[{"apiVersion":"v1","controller":true,"kind":"ConfigMap","name":"o","uid":"1"}]},"spec":{"egress":[{"hosts":["./*"]}]}}`,
		},
	}, {
		"as it is written today", `{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: a}, spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ["./*"]}]}}`, []string{
			`{"apiVersion":"networking.istio.io/v1","kind":"Sidecar","metadata":{"name":"a","namespace":"default"},"spec":{"egress":[{"hosts":["./*"]}],"outboundTrafficPolicy":{"mode":"REGISTRY_ONLY"}}}`,
		},
	}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resources, issues := Decode("x.yaml", []byte(c.yaml), DecodeOptions{})
			if issues.HasErrors() {
				t.Fatal(issues)
			}
			var got []string
			for _, r := range resources {
				text, changed := Normal(r)
				got = append(append(got, string(text)), changed...)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What Normal writes is the same resource, and there is nothing left to change about it.
func TestNormalOfNormalChangesNothing(t *testing.T) {
	t.Parallel()
	for name, text := range seedTexts {
		resources, _ := Decode(name, []byte(text), DecodeOptions{})
		for _, r := range resources {
			once, _ := Normal(r)
			again, issues := Decode(name, once, DecodeOptions{})
			if len(again) != 1 || issues.HasErrors() {
				t.Fatalf("%s: %v", once, issues)
			}
			twice, changed := Normal(again[0])
			if string(twice) != string(once) || len(changed) > 0 {
				t.Errorf("%s\nbecomes %s, changed %q", once, twice, changed)
			}
		}
	}
}
