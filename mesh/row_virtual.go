package mesh

const (
	ownRetries   = "Istio's default applies: two more tries where no connection could be made"
	noSourceView = "rules do not tell workloads apart yet"
)

var virtualRows = []Row{
	{ID: "VS.hosts", Kind: VirtualService, Fields: []string{"hosts[]"}, Priority: "P0", Stance: Differs,
		Says: "Of two for one host the older is followed, as in Istio; older is what comes first by file name and place in the file, not by creationTimestamp."},
	{ID: "VS.gateways", Kind: VirtualService, Fields: []string{"gateways[]"}, Priority: "P1",
		Says: "Only mesh is followed; what is for gateways alone is said to be unused."},
	{ID: "VS.exportTo", Kind: VirtualService, Fields: []string{"exportTo[]"}, Priority: "P1"},
	{ID: "VS.http.name", Kind: VirtualService, Fields: []string{"http[].name", "http[].match[].name"}, Priority: "P1"},
	{ID: "VS.http.match", Kind: VirtualService, Priority: "P1", Fields: []string{
		"http[].match[].{port,ignoreUriCase}",
		"http[].match[].{uri,scheme,method,authority,headers[],withoutHeaders[],queryParams[]}.{exact,prefix,regex}",
	}},
	{ID: "VS.http.match.gateways", Kind: VirtualService, Fields: []string{"{http,tls,tcp}[].match[].gateways[]"}, Priority: "P1",
		Says: "As spec.gateways, for one match; the rule goes on with its other matches."},
	{ID: "VS.http.match.source", Kind: VirtualService, Fields: []string{"{http,tls,tcp}[].match[].{sourceLabels,sourceNamespace}", "tcp[].match[].sourceSubnet"}, Priority: "P1", Stance: Refused,
		Says: noSourceView, Instead: "use exportTo, which tells namespaces apart"},
	{ID: "VS.http.match.statPrefix", Kind: VirtualService, Fields: []string{"http[].match[].statPrefix"}, Priority: "P2", Stance: Reported,
		Says: "there are no such statistics"},
	{ID: "VS.http.route", Kind: VirtualService, Fields: []string{"http[].route[].{weight,destination.host,destination.port.number}"}, Priority: "P0", Stance: Differs,
		Says: "A rule without a route, which Istio refuses, goes to the VirtualService's own host."},
	{ID: "VS.route.subset", Kind: VirtualService, Fields: []string{"{http,tls,tcp}[].route[].destination.subset"}, Priority: "P1", Stance: Refused,
		Instead: "name a host of its own"},
	{ID: "VS.http.redirect", Kind: VirtualService, Fields: []string{"http[].redirect"}, Priority: "P1", Stance: Refused},
	{ID: "VS.http.directResponse", Kind: VirtualService, Fields: []string{"http[].directResponse"}, Priority: "P1", Stance: Refused},
	{ID: "VS.http.rewrite", Kind: VirtualService, Fields: []string{"http[].rewrite"}, Priority: "P1", Stance: Refused},
	{ID: "VS.http.timeout", Kind: VirtualService, Fields: []string{"http[].timeout"}, Priority: "P0"},
	{ID: "VS.http.retries", Kind: VirtualService, Fields: []string{"http[].retries"}, Priority: "P1", Stance: Reported,
		Says: ownRetries},
	{ID: "VS.http.fault", Kind: VirtualService, Fields: []string{"http[].fault"}, Priority: "P1", Stance: Refused},
	{ID: "VS.http.mirror", Kind: VirtualService, Fields: []string{"http[].{mirror,mirrors,mirrorPercent,mirrorPercentage}"}, Priority: "P2", Stance: Reported,
		Says: "no copy of a request is sent anywhere"},
	{ID: "VS.http.corsPolicy", Kind: VirtualService, Fields: []string{"http[].corsPolicy"}, Priority: "P2", Stance: Reported,
		Says: "pre-flight requests go to the server, and its answers are left as they are"},
	{ID: "VS.http.headers", Kind: VirtualService, Fields: []string{"http[].headers", "http[].route[].headers"}, Priority: "P1", Stance: Refused},
	{ID: "VS.http.delegate", Kind: VirtualService, Fields: []string{"http[].delegate"}, Priority: "P2", Stance: Refused,
		Says: "routes are not put together from several VirtualServices", Instead: "write the other's rules here"},
	{ID: "VS.tls.match", Kind: VirtualService, Fields: []string{"tls[].match[].{port,sniHosts[],destinationSubnets[]}"}, Priority: "P1"},
	{ID: "VS.tls.route", Kind: VirtualService, Fields: []string{"tls[].route[].{weight,destination.host,destination.port.number}"}, Priority: "P1"},
	{ID: "VS.tcp.match", Kind: VirtualService, Fields: []string{"tcp[].match[].{port,destinationSubnets[]}"}, Priority: "P1"},
	{ID: "VS.tcp.route", Kind: VirtualService, Fields: []string{"tcp[].route[].{weight,destination.host,destination.port.number}"}, Priority: "P1"},
}
