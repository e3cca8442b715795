package rows

import (
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestVirtualServiceFault(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.fault", func(p *egress.Pod) {
		p.Net.Web("shaky.test", 80, nil)
		p.Apply(web("shaky.test") + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shaky}
spec:
  hosts: [shaky.test]
  http:
  - match: [{uri: {prefix: /late}}]
    fault: {delay: {fixedDelay: 200ms, percentage: {value: 100}}}
    route: [{destination: {host: shaky.test}}]
  - match: [{uri: {prefix: /broken}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: shaky.test}}]
  - match: [{uri: {prefix: /both}}]
    fault: {delay: {fixedDelay: 200ms}, abort: {httpStatus: 500}}
    route: [{destination: {host: shaky.test}}]
  - match: [{uri: {prefix: /grpc}}]
    fault: {abort: {grpcStatus: NOT_FOUND, percentage: {value: 100}}}
    route: [{destination: {host: shaky.test}}]
  - fault: {delay: {fixedDelay: 1h, percentage: {value: 0}}, abort: {httpStatus: 500, percentage: {value: 0}}}
    route: [{destination: {host: shaky.test}}]
`)
		const cluster = "outbound|80||shaky.test"
		for _, v := range egress.Versions {
			for _, want := range []struct {
				path, answer, flags string
				least               time.Duration
			}{
				{"/late", "200 shaky.test", "DI", 200 * time.Millisecond},
				{"/broken", "418 FI fault filter abort", "FI", 0},
				{"/both", "500 DI,FI fault filter abort", "DI,FI", 200 * time.Millisecond},
				{"/fine", "200 shaky.test", "-", 0},
			} {
				begun := time.Now()
				p.Ask(egress.Request{URL: "http://shaky.test" + want.path, Version: v}).Want(want.answer).WantLine(want.flags, cluster)
				if took := time.Since(begun); took < want.least {
					p.T.Errorf("%s %s: answered after %v, want %v or more", v, want.path, took, want.least)
				}
			}
			call := egress.Request{URL: "http://shaky.test/grpc", Method: "POST", Version: v, Header: map[string]string{"Content-Type": "application/grpc"}}
			if a := p.Ask(call).Want("200 FI").WantLine("FI", cluster); a.Header.Get("Grpc-Status") != "5" || a.Header.Get("Grpc-Message") != "fault filter abort" {
				p.T.Errorf("%s: gRPC gets %v", v, a.Header)
			}
		}
	})
}
