package rows

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// untouched are rows of no great need (P2) or of no meaning here (N/A) that are not
// followed, each with a resource that has the field. Package mesh looks at every field
// of them; here is what an operator sees of it.
var untouched = map[string]string{
	"SE.endpoints.locality":       static(`locality: region/zone`),
	"SE.endpoints.network":        static(`network: other`),
	"SE.endpoints.serviceAccount": static(`serviceAccount: me`),
	"SE.workloadSelector": object("ServiceEntry", "x", `{hosts: [x.test], ports: [{number: 80, name: http, protocol: HTTP}],
  resolution: STATIC, workloadSelector: {labels: {app: x}}}`),
	"VS.tcp.match.sourceSubnet":       object("VirtualService", "x", `{hosts: [own.test], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: own.test}}]}]}`),
	"VS.http.match.statPrefix":        rule(`match: [{statPrefix: x}], route: [{destination: {host: own.test}}]`),
	"VS.http.fault.unsupported":       rule(`fault: {delay: {exponentialDelay: 1s}}, route: [{destination: {host: own.test}}]`),
	"VS.http.mirror":                  rule(`mirror: {host: other.test}, route: [{destination: {host: own.test}}]`),
	"VS.http.corsPolicy":              rule(`corsPolicy: {allowOrigins: [{exact: "http://a.test"}]}, route: [{destination: {host: own.test}}]`),
	"VS.http.delegate":                rule(`delegate: {name: other}`),
	"DR.tls.mode.ISTIO_MUTUAL":        policy(`tls: {mode: ISTIO_MUTUAL}`),
	"DR.retryBudget":                  policy(`retryBudget: {percent: 10}`),
	"DR.loadBalancer.consistentHash":  policy(`loadBalancer: {consistentHash: {useSourceIp: true}}`),
	"DR.loadBalancer.locality":        policy(`loadBalancer: {localityLbSetting: {enabled: true}}`),
	"DR.loadBalancer.warmup":          policy(`loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s}}`),
	"DR.proxyProtocol":                policy(`proxyProtocol: {version: V1}`),
	"Sidecar.egress.port":             object("Sidecar", "x", `{egress: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*/*"]}]}`),
	"Sidecar.egress.captureMode.NONE": object("Sidecar", "x", `{egress: [{captureMode: NONE, hosts: ["*/*"]}]}`),
	"Sidecar.ingress":                 object("Sidecar", "x", `{egress: [{hosts: ["*/*"]}], ingress: [{port: {number: 80, name: http, protocol: HTTP}, defaultEndpoint: "127.0.0.1:80"}]}`),
}

func static(endpoint string) string {
	return object("ServiceEntry", "x", `{hosts: [x.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 203.0.113.9, `+endpoint+`}]}`)
}

func rule(text string) string {
	return object("VirtualService", "x", `{hosts: [own.test], http: [{`+text+`}]}`)
}

func policy(text string) string {
	return object("DestinationRule", "x", `{host: own.test, trafficPolicy: {`+text+`}}`)
}

// Everybody who puts such a field into force is told, by name and with the reason, and
// the log is; traffic goes on.
func TestWhatIsNotFollowedIsTold(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Web("own.test", 80, nil)
	p.Net.Web("other.test", 80, nil)
	for _, r := range mesh.Rows {
		resource, there := untouched[r.ID]
		switch followed := r.Stance <= mesh.Differs; {
		case there && followed:
			t.Errorf("%s is among what is not followed; its stance is %s", r.ID, r.Stance)
		case !there && !followed && (r.Priority == "P2" || r.Priority == "N/A"):
			t.Errorf("%s (%s) is not followed, and nothing here shows that it is told", r.ID, r.Priority)
		}
		if !there {
			continue
		}
		severity := map[mesh.Stance]mesh.Severity{mesh.Reported: mesh.Warning, mesh.Refused: mesh.Error}[r.Stance]
		before := len(p.Log.String())
		issues := p.Offer(web("own.test", "other.test") + resource)
		if !slices.ContainsFunc(issues.Of(severity), func(i mesh.Issue) bool { return strings.Contains(i.Message, r.Says) }) {
			t.Errorf("%s: no %s says %q:\n%s", r.ID, severity, r.Says, issues)
		}
		if !strings.Contains(p.Log.String()[before:], r.Says) {
			t.Errorf("%s: the log does not say %q", r.ID, r.Says)
		}
		both(p, "http://own.test", "200 own.test")
	}
	if n := len(p.Net.Seen("other.test")); n != 0 {
		t.Errorf("%d requests went to another host", n)
	}
}
