package mesh

const inbound = "sluice governs what leaves a workload, not what comes in"

var sidecarRows = []Row{
	{ID: "Sidecar.workloadSelector", Kind: Sidecar, Fields: []string{"workloadSelector.labels[]"}, Priority: "P1"},
	{ID: "Sidecar.egress.hosts", Kind: Sidecar, Fields: []string{"egress[].hosts[]"}, Priority: "P1"},
	{ID: "Sidecar.egress.port", Kind: Sidecar, Fields: []string{"egress[].{port,bind}"}, Priority: "P2", Stance: Refused,
		Says: "a workload has one set of hosts for all ports, and no listeners of its own", Instead: "put all hosts into spec.egress[0]"},
	{ID: "Sidecar.egress.captureMode", Kind: Sidecar, Fields: []string{"egress[].captureMode"}, Priority: "P2",
		Says: "DEFAULT and IPTABLES."},
	{ID: "Sidecar.egress.captureMode.NONE", Kind: Sidecar, Fields: []string{"egress[].captureMode"}, Value: "NONE", Priority: "P2", Stance: Refused,
		Says: "applications would have to call a listener of the proxy's, and there is none", Instead: "use IPTABLES, or leave it out"},
	{ID: "Sidecar.outboundTrafficPolicy.mode", Kind: Sidecar, Fields: []string{"outboundTrafficPolicy.mode"}, Priority: "P1", Stance: Differs,
		Says: "Without a Sidecar the policy is REGISTRY_ONLY, unless the proxy was told otherwise."},
	{ID: "Sidecar.outboundTrafficPolicy.ALLOW_ANY", Kind: Sidecar, Fields: []string{"outboundTrafficPolicy.mode"}, Value: "ALLOW_ANY", Priority: "P1", Stance: Differs,
		Says: "A TCP ServiceEntry without addresses takes the connections to its own addresses; in Istio it takes all of its port's, strangers' too."},
	{ID: "Sidecar.outboundTrafficPolicy.egressProxy", Kind: Sidecar, Fields: []string{"outboundTrafficPolicy.egressProxy.{host,subset,port.number}"}, Priority: "P1", Stance: Differs,
		Says: "TLS goes there as it is. Where the proxy's DestinationRule originates TLS, without sni the name is the proxy's host; Istio takes the request's Host."},
	{ID: "Sidecar.ingress", Kind: Sidecar, Fields: []string{"ingress", "inboundConnectionPool"}, Priority: "N/A", Stance: Reported,
		Says: inbound},
}
