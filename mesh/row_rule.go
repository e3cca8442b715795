package mesh

const (
	noLimit      = "no such limit is kept"
	portProtocol = "the port's protocol says which version of HTTP the server is spoken to in"
)

// Places of a policy: a rule's and its subsets', and also each port's of these.
const (
	wholePolicies = "{trafficPolicy,subsets[].trafficPolicy}."
	policies      = "{trafficPolicy,trafficPolicy.portLevelSettings[],subsets[].trafficPolicy,subsets[].trafficPolicy.portLevelSettings[]}."
)

var ruleRows = []Row{
	{ID: "DR.host", Kind: DestinationRule, Fields: []string{"host"}, Priority: "P0", Stance: Differs,
		Says: "Of two rules for one host in a namespace the older one's policy is followed, and the subsets of both are there, as in Istio; older is what comes first by file name and place in the file. The old name spec.name is accepted."},
	{ID: "DR.exportTo", Kind: DestinationRule, Fields: []string{"exportTo[]"}, Priority: "P1"},
	{ID: "DR.workloadSelector", Kind: DestinationRule, Fields: []string{"workloadSelector.matchLabels[]"}, Priority: "P1", Stance: Differs,
		Says: "For workloads of the rule's own namespace, before rules for all. A workload that is not selected follows the next rule, of a wildcard or another namespace; Istio follows none then."},
	{ID: "DR.tls.mode", Kind: DestinationRule, Fields: []string{policies + "tls.mode"}, Priority: "P0",
		Says: "DISABLE, SIMPLE and MUTUAL."},
	{ID: "DR.tls.mode.ISTIO_MUTUAL", Kind: DestinationRule, Fields: []string{policies + "tls.mode"}, Value: "ISTIO_MUTUAL", Priority: "N/A", Stance: Refused,
		Says: "needs a mesh's own certificates, which sluice has none of", Instead: "use SIMPLE, or MUTUAL with files or a credential"},
	{ID: "DR.tls.sni", Kind: DestinationRule, Fields: []string{policies + "tls.{sni,subjectAltNames[]}"}, Priority: "P0", Stance: Differs,
		Says: "Without them the name is the request's Host, as the server is sent it, as in Istio; where that is an address, and for opaque bytes, the destination's host, where Istio names none. With sni alone the certificate must be for that name, where Istio looks at no name."},
	{ID: "DR.tls.files", Kind: DestinationRule, Fields: []string{policies + "tls.{caCertificates,clientCertificate,privateKey}"}, Priority: "P0", Stance: Differs,
		Says: "A file is looked at for each new connection and read again when it has changed; open connections stay. What cannot be read, or a key without its certificate, leaves in use what was there before. The system's authorities are read once."},
	{ID: "DR.tls.insecureSkipVerify", Kind: DestinationRule, Fields: []string{policies + "tls.insecureSkipVerify"}, Priority: "P1"},
	{ID: "DR.tls.credentialName", Kind: DestinationRule, Fields: []string{policies + "tls.credentialName"}, Priority: "P1", Stance: Differs,
		Says: "The name of a directory below --credentials NAMESPACE, with the keys of a Secret as files. It is followed in every rule; Istio's sidecars want a workloadSelector in it. kubernetes:// may stand before the name; of other kinds, configmap:// among them, there are none outside Kubernetes."},
	{ID: "DR.tls.caCrl", Kind: DestinationRule, Fields: []string{policies + "tls.caCrl"}, Priority: "P1",
		Says: "Every certificate of a chain is looked up, and every authority of it needs a list that has not expired."},
	{ID: "DR.connectionPool.tcp.connectTimeout", Kind: DestinationRule, Fields: []string{policies + "connectionPool.tcp.connectTimeout"}, Priority: "P1"},
	{ID: "DR.connectionPool.tcp.maxConnections", Kind: DestinationRule, Fields: []string{policies + "connectionPool.tcp.maxConnections"}, Priority: "P1",
		Says: "Limits are each pod's own. HTTP requests wait for a connection, others are reset (UO). An address without any may have one beyond the limit, as in Envoy."},
	{ID: "DR.connectionPool.tcp.maxConnectionDuration", Kind: DestinationRule, Fields: []string{policies + "connectionPool.tcp.maxConnectionDuration"}, Priority: "P1", Stance: Reported,
		Says: noLimit},
	{ID: "DR.connectionPool.tcp.tcpKeepalive", Kind: DestinationRule, Fields: []string{policies + "connectionPool.tcp.tcpKeepalive.{probes,time,interval}"}, Priority: "P1",
		Says: "For connections that are opened from then on. Times are in whole seconds, as in Istio."},
	{ID: "DR.connectionPool.tcp.idleTimeout", Kind: DestinationRule, Fields: []string{policies + "connectionPool.tcp.idleTimeout"}, Priority: "P1", Stance: Reported,
		Says: "a connection is ended when nothing has moved for an hour"},
	{ID: "DR.connectionPool.http.limits", Kind: DestinationRule, Priority: "P1",
		Fields: []string{policies + "connectionPool.http.{http1MaxPendingRequests,http2MaxRequests,maxRequestsPerConnection,maxRetries,maxConcurrentStreams}"},
		Says:   "Limits are each pod's own. http1MaxPendingRequests and http2MaxRequests hold for both versions of HTTP, as in Envoy."},
	{ID: "DR.connectionPool.http.idleTimeout", Kind: DestinationRule, Fields: []string{policies + "connectionPool.http.idleTimeout"}, Priority: "P1", Stance: Reported,
		Says: "an idle connection is kept for an hour"},
	{ID: "DR.connectionPool.http.protocol", Kind: DestinationRule, Fields: []string{policies + "connectionPool.http.{h2UpgradePolicy,useClientProtocol}"}, Priority: "P1", Stance: Reported,
		Says: portProtocol},
	{ID: "DR.connectionPool.http.http2KeepAlive", Kind: DestinationRule, Fields: []string{policies + "connectionPool.http.http2KeepAlive"}, Priority: "P1", Stance: Reported,
		Says: "no pings are sent"},
	{ID: "DR.retryBudget", Kind: DestinationRule, Fields: []string{wholePolicies + "retryBudget"}, Priority: "P2", Stance: Reported,
		Says: "the retries of all requests are not counted against a budget"},
	{ID: "DR.outlierDetection", Kind: DestinationRule, Fields: []string{policies + "outlierDetection"}, Priority: "P1", Stance: Reported,
		Says: "only failed connections eject an endpoint so far"},
	{ID: "DR.loadBalancer.simple", Kind: DestinationRule, Fields: []string{policies + "loadBalancer.simple"}, Priority: "P1",
		Says: "LEAST_REQUEST (also under its old name LEAST_CONN, and by default), ROUND_ROBIN and RANDOM, which does not look at weights. For resolution DNS addresses of the family that the application chose come first."},
	{ID: "DR.loadBalancer.simple.PASSTHROUGH", Kind: DestinationRule, Fields: []string{policies + "loadBalancer.simple"}, Value: "PASSTHROUGH", Priority: "P1", Stance: Differs,
		Says: "The endpoints are left out, as with resolution NONE: the original destination must be an address of the name."},
	{ID: "DR.loadBalancer.consistentHash", Kind: DestinationRule, Fields: []string{policies + "loadBalancer.consistentHash"}, Priority: "P2", Stance: Reported,
		Says: "requests that belong together go to several endpoints, as with LEAST_REQUEST"},
	{ID: "DR.loadBalancer.locality", Kind: DestinationRule, Fields: []string{policies + "loadBalancer.{localityLbSetting,zoneAwareLbSetting}"}, Priority: "P2", Stance: Reported,
		Says: "every endpoint is as near as any other"},
	{ID: "DR.loadBalancer.warmup", Kind: DestinationRule, Fields: []string{policies + "loadBalancer.{warmup,warmupDurationSecs}"}, Priority: "P2", Stance: Reported,
		Says: "a new endpoint takes its whole share at once"},
	{ID: "DR.portLevelSettings", Kind: DestinationRule, Fields: []string{wholePolicies + "portLevelSettings[].port.number"}, Priority: "P0",
		Says: "A port's settings replace the whole policy; nothing is inherited."},
	{ID: "DR.tunnel", Kind: DestinationRule, Fields: []string{wholePolicies + "tunnel.{protocol,targetHost,targetPort}"}, Priority: "P1", Stance: Differs,
		Says: "For TCP and TLS, not for HTTP, as in Istio; a subset has its own only. The proxy is asked over HTTP/1.1 whatever its port declares, and is sent no credentials."},
	{ID: "DR.proxyProtocol", Kind: DestinationRule, Fields: []string{wholePolicies + "proxyProtocol"}, Priority: "P2", Stance: Refused,
		Says: "no PROXY header is sent, and a server that waits for one answers nobody", Instead: "turn it off at the server"},
	{ID: "DR.subsets", Kind: DestinationRule, Fields: []string{"subsets[].{name,labels[]}"}, Priority: "P1", Stance: Differs,
		Says: "A subset's trafficPolicy is laid over the host's, kind by kind, as in Istio. A subset without endpoints answers 503 UH, in Istio 503 NC where names are resolved; under resolution NONE its labels have no effect."},
}
