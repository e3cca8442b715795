package e2e

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
)

// pod is an egress.Pod among the servers of these tests.
type pod struct {
	*egress.Pod
	net *internet
}

type podOption func(*egress.Options)

func onlyRegisteredNames(o *egress.Options) { o.Names = dnsproxy.RegistryOnly }

func refuseMismatches(o *egress.Options) {
	o.Proxy = func(c *proxy.Config) { c.AddressMismatch = proxy.MismatchRefuse }
}

// newPod is a pod whose rules have settings, fields of rules.Config and their values.
func newPod(t *testing.T, policy mesh.OutboundPolicy, settings map[string]string, change ...podOption) *pod {
	t.Helper()
	o := egress.Options{Policy: policy, Rules: settings}
	for _, f := range change {
		f(&o)
	}
	p := egress.New(t, o)
	return &pod{Pod: p, net: furnish(t, p.Net)}
}

// client is an application in the pod that connects like any other program.
func (p *pod) client(family string) *http.Client {
	t := &http.Transport{
		MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000, DisableCompression: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return p.NS.Dial(ctx, "tcp", net.JoinHostPort(p.net.Lookup(host, family), port))
		},
	}
	p.T.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 20 * time.Second}
}

func must(t *testing.T, err error) {
	t.Helper()
	egress.Must(t, err)
}

func isRefused(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "reset"))
}
