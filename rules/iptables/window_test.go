package iptables_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// Both configurations capture the server, so between them there is no moment at
// which a connection may reach it. The proxy need not answer: a refusal is allowed.
func TestNothingGetsOutWhileOneConfigurationReplacesAnother(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		p := rulestest.NewPair(t)
		port := rulestest.Echo(t, p.Server, ":0", "there")
		rulestest.Echo(t, p.Pod, ":15001", "proxy")
		rulestest.Echo(t, p.Pod, ":15101", "other")
		apply(t, fw, p.Pod, rulestest.Plan(t))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var wg sync.WaitGroup
		tried := make([]int, len(hosts))
		for i, host := range hosts {
			wg.Go(func() { // ends with the context
				for ctx.Err() == nil {
					dialCtx, stop := context.WithTimeout(context.Background(), 3*time.Second)
					c, err := p.Pod.Dial(dialCtx, "tcp", net.JoinHostPort(host, port))
					stop()
					if err == nil {
						if who := rulestest.Ask(c); who == "there" {
							t.Errorf("%s: a connection went out", host)
						}
						c.Close()
					}
					tried[i]++
				}
			})
		}
		for i := range 10 {
			apply(t, fw, p.Pod, rulestest.Plan(t, "includeIPRanges=10.50.0.0/24,192.0.2.0/24,fd50::/64", "outboundPort=15101", "dnsCapture=true"))
			if i%3 == 2 {
				apply(t, fw, p.Pod, full(t, "excludeIPRanges=192.0.2.0/24", "includeOutboundPorts="+port))
			}
			apply(t, fw, p.Pod, rulestest.Plan(t))
		}
		cancel()
		wg.Wait()
		t.Logf("%v connections", tried)
	})
}

func TestConnectionsThatBeginAsRulesChangeAreMade(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) { rulestest.ConnectionsBeginAsRulesChange(t, fw.Apply, 1) })
}
