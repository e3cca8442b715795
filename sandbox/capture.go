package sandbox

import (
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// capture programs this process's new namespace: all TCP and all DNS, to
// loopback resolvers too, goes to our sockets, and everything else is refused at
// once. Nobody is exempt: the proxy dials from outside.
func capture(proxyPort, dnsPort uint16) error {
	c := rules.Default()
	c.OutboundPort, c.DNSPort, c.DNSCapture = proxyPort, dnsPort, true
	plan, err := rules.NewPlan(c)
	if err != nil {
		return err
	}
	here, err := lab.Current()
	if err != nil {
		return err
	}
	defer here.Close()
	return nft.Apply(here.FD(), plan)
}
